"""The projector: what it sees, how long its vectors are, who learns."""

import pytest
import torch
from torch.nn import functional

from dmn_train.memory.projector import Projector
from dmn_train.networks.sizes import NetworkSpec
from dmn_train.networks.unet import Features, UNet


def features(levels: int, dtype: torch.dtype = torch.float32) -> tuple[NetworkSpec, Features]:
    torch.manual_seed(1)
    spec = NetworkSpec(base=2, levels=levels, context_slices=0)
    return spec, UNet(spec).to(dtype).forward_features(torch.randn(2, 1, 16, 24, dtype=dtype))


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_vectors_of_cells_of_four_pixels_have_length_one(levels: int) -> None:
    spec, seen = features(levels)
    vectors = Projector(spec, 5)(seen)
    assert (vectors.shape, vectors.dtype) == ((2, 5, 4, 6), torch.float32)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(2, 4, 6))


def test_a_cell_sees_the_mean_of_its_pixels_at_both_levels() -> None:
    spec, seen = features(2)
    projector = Projector(spec, 5)
    full, half = seen.decoder
    cell = torch.cat([full[1, :, 4:8, 8:12].mean(dim=(1, 2)), half[1, :, 2:4, 4:6].mean(dim=(1, 2))])
    hidden = functional.relu(projector.hidden.weight[:, :, 0, 0] @ cell + projector.hidden.bias)
    expected = functional.normalize(projector.out.weight[:, :, 0, 0] @ hidden + projector.out.bias, dim=0)
    torch.testing.assert_close(projector(seen)[1, :, 1, 2], expected)


def test_the_network_and_the_projector_learn() -> None:
    spec, seen = features(2)
    projector = Projector(spec, 5)
    for feature in seen.decoder:
        feature.retain_grad()
    (projector(seen)[:, 0] ** 2).sum().backward()
    assert all(feature.grad is not None and feature.grad.abs().max() > 0 for feature in seen.decoder)
    assert all(weight.grad is not None for weight in projector.parameters())


def test_half_precision_gives_float32_without_nan() -> None:
    spec, seen = features(2)
    zero = Features(
        tuple(torch.zeros_like(f) for f in seen.encoder),
        tuple(torch.zeros_like(f) for f in seen.decoder),
        seen.logits,
    )
    projector = Projector(spec, 5)
    with torch.no_grad():
        projector.hidden.bias.zero_()
        projector.out.bias.zero_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        vectors, none = projector(seen), projector(zero)
    assert vectors.dtype == torch.float32
    none.sum().backward()
    assert none.isfinite().all()
    assert vectors.isfinite().all()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in projector.parameters())
