"""A bound on the labels' foreground does not silence the alarm on a teacher that finds it everywhere."""

from collections.abc import Callable

import pytest
import torch

from dmn_train.data import Batch
from dmn_train.domains import DomainNetwork
from dmn_train.methods.base import views_of
from dmn_train.methods.dismemnet import Dismemnet
from dmn_train.methods.dismemnet_parts.facts import RunFacts
from dmn_train.methods.mean_teacher import MeanTeacher
from dmn_train.networks.sizes import NetworkSpec
from dmn_train.sections import DismemnetSection, LossSection, MeanTeacherSection
from dmn_train.views import TargetViews

SOURCE_SHARE, MOST = 0.1, 0.15
FACTS = RunFacts(seed=0, steps=8, clip=2.0, trained_start=True)
OFF = {
    "translation": {"kind": "none"},
    "memory": {"kind": "none"},
    "distillation": {"weight": 0.0},
}
Maker = Callable[[NetworkSpec, float | None], MeanTeacher | Dismemnet]


@pytest.fixture
def batch(batch: Batch) -> Batch:
    assert batch.target is not None
    nothing_pasted = torch.zeros_like(batch.truth)
    return batch._replace(views=TargetViews(batch.target, torch.ones_like(batch.truth), nothing_pasted))


def mean_teacher(spec: NetworkSpec, most: float | None) -> MeanTeacher:
    return MeanTeacher(MeanTeacherSection(), LossSection(), spec, most)


def dismemnet(spec: NetworkSpec, most: float | None) -> Dismemnet:
    return Dismemnet(DismemnetSection.model_validate(OFF), LossSection(), spec, FACTS, most)


@pytest.mark.parametrize("make", [mean_teacher, dismemnet])
@pytest.mark.parametrize("most", [None, MOST])
@pytest.mark.parametrize("everywhere", [False, True])
def test_a_teacher_that_finds_foreground_everywhere_is_told_of(
    network: DomainNetwork, batch: Batch, spec: NetworkSpec, make: Maker, most: float | None, everywhere: bool
) -> None:
    method = make(spec, most)
    method.begin(network)
    head = method.teacher.network.network.head
    assert head.bias is not None
    with torch.no_grad():
        logits = method.teacher.network.eval()(views_of(batch).plain)
    level = logits.amin() if everywhere else logits.quantile(0.8)
    head.bias.data.sub_(level)
    told = method.train().losses(network, batch, progress=1.0)
    alarms = [sentence for sentence in method.alarms(SOURCE_SHARE) if "much foreground" in sentence]
    assert len(alarms) == int(everywhere)
    if everywhere and most is not None:
        assert float(told["target_fg_share"]) <= MOST
        assert alarms[0].startswith("the teacher finds much foreground")
