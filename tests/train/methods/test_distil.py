"""Distillation: its loss is the sum in its docstring, the teacher is another size and never learns."""

import copy

import pytest
import torch

from dmn_train.data import Batch
from dmn_train.distil.attention import attention_loss
from dmn_train.domains import DomainNetwork
from dmn_train.losses import segmentation_loss
from dmn_train.methods.base import views_of
from dmn_train.methods.distil import Distil, used_crops
from dmn_train.networks.sizes import NetworkSpec
from dmn_train.networks.unet import UNet
from dmn_train.sections import DistilSection, LossSection
from dmn_train.student.soft_labels import mask_iou, soft_label_loss
from dmn_train.views import TargetViews


@pytest.fixture
def batch(batch: Batch) -> Batch:
    """Return the common batch with a plain view that is another than the strong one."""
    assert batch.target is not None
    generator = torch.Generator().manual_seed(6)
    plain = batch.target + 0.3 * torch.randn(batch.target.shape, generator=generator)
    blank = torch.zeros_like(batch.truth)
    return batch._replace(views=TargetViews(plain, 1.0 - blank, blank))


def make(**keys: object) -> Distil:
    torch.manual_seed(11)
    teacher = UNet(NetworkSpec(base=3, levels=2, context_slices=0))
    # A decided one, with pixels on either side of 0.5.
    teacher.head.weight.data.mul_(20.0)
    assert teacher.head.bias is not None
    with torch.no_grad():
        teacher.head.bias.sub_(teacher.eval()(1.0 + 0.6 * torch.randn(8, 1, 16, 16)).mean())
    return Distil(DistilSection(teacher="t", **keys), LossSection(), teacher).train()  # type: ignore[arg-type]


def test_the_loss_is_the_sum_of_its_terms(network: DomainNetwork, batch: Batch) -> None:
    method = make(source_share=0.5, source_weight=2.0, attention=3.0)
    losses = method.losses(network, batch, 0.5)
    assert batch.target is not None
    source, target = network.both_features(batch.image[[1]], batch.target)
    of_source = segmentation_loss(source.logits, batch.truth[[1]], batch.valid[[1]], LossSection())
    taught = method.teacher(views_of(batch).plain)
    soft = soft_label_loss(target.logits, taught.probability, DistilSection(teacher="t"))["soft"]
    alike = attention_loss(taught.features, target, (0.5, 0.5, 0.0))
    torch.testing.assert_close(losses["soft"], soft)
    torch.testing.assert_close(losses["attention"], alike)
    torch.testing.assert_close(losses["loss"], soft + 2.0 * of_source["segmentation"] + 3.0 * alike)
    torch.testing.assert_close(losses["agreement"], mask_iou(target.logits.sigmoid(), taught.probability))
    assert 0.0 < float(losses["target_fg_share"]) < 1.0


def test_attention_of_weight_0_is_not_computed(network: DomainNetwork, batch: Batch) -> None:
    losses = make(attention=0.0).losses(network, batch, 0.5)
    assert "attention" not in losses
    torch.testing.assert_close(losses["loss"], losses["soft"] + losses["segmentation"])


def test_the_teacher_neither_learns_nor_moves(network: DomainNetwork, batch: Batch) -> None:
    method = make()
    before = copy.deepcopy(method.teacher.state_dict())
    method.losses(network, batch, 0.5)["loss"].backward()
    method.after_step(network, 0)
    assert all(not p.requires_grad and p.grad is None for p in method.parameters())
    assert all(p.grad is not None for p in network.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in method.teacher.state_dict().items())


def test_the_teacher_sees_the_plain_view_alone(network: DomainNetwork, batch: Batch) -> None:
    method, views = make(), views_of(batch)
    shares = [
        float(method.losses(network, changed, 1.0)["target_fg_share"])
        for changed in (
            batch,
            batch._replace(target=torch.zeros_like(batch.image)),
            batch._replace(views=views._replace(plain=3.0 * views.plain)),
        )
    ]
    assert shares[0] == shares[1] != shares[2]


@pytest.mark.parametrize(
    ("count", "share", "used"),
    [(8, 0.25, [2, 6]), (8, 1.0, list(range(8))), (4, 0.1, [2]), (6, 0.5, [1, 3, 5]), (1, 0.25, [0])],
)
def test_the_crops_that_are_used_are_spread_over_the_batch(count: int, share: float, used: list[int]) -> None:
    assert used_crops(count, share) == used


def test_it_rings_where_the_teacher_finds_nothing(network: DomainNetwork, batch: Batch) -> None:
    method = make()
    head = method.teacher.network.head
    assert head.bias is not None
    head.bias.data.fill_(-100.0)
    method.losses(network, batch, 1.0)
    (sentence,) = method.alarms(0.08)
    assert "little foreground, 0.00%" in sentence


def test_some_level_of_attention_must_count() -> None:
    with pytest.raises(ValueError, match="attention has a weight and attention_levels none"):
        DistilSection(teacher="t", attention_levels=(0.0, 0.0, 0.0))
    assert DistilSection(teacher="t", attention=0.0, attention_levels=(0.0, 0.0, 0.0)).attention == 0.0
