"""Side outputs: where they sit, what they learn."""

from math import log

import pytest
import torch

from dmn_train.distil.side_heads import SideHeads, pooled, side_loss
from dmn_train.networks.sizes import NetworkSpec
from dmn_train.networks.unet import UNet


@pytest.mark.parametrize(("levels", "sizes"), [(1, []), (2, [8]), (3, [8, 4]), (4, [8, 4])])
def test_the_heads_sit_at_half_and_quarter_of_the_resolution(levels: int, sizes: list[int]) -> None:
    torch.manual_seed(0)
    spec = NetworkSpec(base=2, levels=levels, context_slices=0)
    outputs = SideHeads(spec)(UNet(spec).forward_features(torch.randn(2, 1, 16, 16)))
    assert [tuple(logits.shape) for logits in outputs] == [(2, 1, size, size) for size in sizes]


def test_labels_of_cells_are_means_by_weight() -> None:
    labels = torch.tensor([[[[1.0, 0.0, 1.0, 1.0], [0.5, 1.0, 0.0, 0.0]]]])
    weights = torch.tensor([[[[1.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]]]])
    cells, counts = pooled(labels, weights, 2)
    assert cells.tolist() == [[[[0.5, 0.0]]]]
    assert counts.tolist() == [[[[0.75, 0.0]]]]


def test_the_loss_is_the_mean_of_the_outputs_cross_entropies() -> None:
    labels = torch.tensor([[[[1.0, 1.0, 0.0, 0.0]] * 4]])
    weights = torch.ones_like(labels)
    half = torch.tensor([[[[log(3.0), 0.0]] * 2]])
    quarter = torch.zeros(1, 1, 1, 1)
    # At 1/2 p is 3/4 where the label is 1, 1/2 where it is 0; at 1/4 p and label are 1/2.
    expected = ((log(4 / 3) + log(2)) / 2 + log(2)) / 2
    assert side_loss((half, quarter), labels, weights).item() == pytest.approx(expected)
    assert side_loss((), labels, weights).item() == 0.0


def test_heads_and_network_learn_where_pixels_count() -> None:
    torch.manual_seed(0)
    spec = NetworkSpec(base=2, levels=2, context_slices=0)
    network, heads = UNet(spec), SideHeads(spec)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = heads(network.forward_features(torch.randn(2, 1, 16, 16)))
    weights = torch.zeros(2, 1, 16, 16)
    side_loss(outputs, torch.ones(2, 1, 16, 16), weights).backward(retain_graph=True)
    assert all(p.grad is not None and p.grad.abs().max() == 0 for p in heads.parameters())
    side_loss(outputs, torch.ones(2, 1, 16, 16), 1 - weights).backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in heads.parameters())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.up[1].parameters())
    assert all(p.grad is None for p in network.head.parameters())
