"""Images come from the moving average, within the range; what has gone wrong is told."""

import copy

import pytest
import torch

from dmn_train.domains import DomainNetwork
from dmn_train.methods.dismemnet_parts.facts import RunFacts
from dmn_train.methods.dismemnet_parts.source_translation import SourceTranslation
from dmn_train.networks.sizes import NetworkSpec
from dmn_train.sections import TranslationSection

SECTION = TranslationSection(base=2, blocks=1, discriminator_base=2, stages=(0, 2), locations=8, decay=0.5)


def make(spec: NetworkSpec, network: DomainNetwork, *, trained_start: bool = True) -> SourceTranslation:
    torch.manual_seed(2)
    facts = RunFacts(seed=0, steps=100, clip=1.5, trained_start=trained_start)
    translation = SourceTranslation(SECTION, spec, facts)
    translation.begin(network)
    return translation.train()


@pytest.fixture
def plain() -> torch.Tensor:
    return torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(1)).clamp(-1.5, 1.5)


def test_images_are_the_averages_and_within_the_range(
    spec: NetworkSpec, network: DomainNetwork, plain: torch.Tensor
) -> None:
    translation = make(spec, network)
    assert float((translation.translate(plain) - plain).abs().max()) < 0.1  # it begins as it is
    head = translation.translator.generator.head
    assert head.bias is not None
    head.bias.data.fill_(1.0)
    assert float((translation.translate(plain) - plain).abs().max()) < 0.1
    translation.follow(done=1000)  # a decay of 1 / 2
    moved = translation.translate(plain)
    assert float(moved.max()) == 1.5
    torch.testing.assert_close(moved, (plain + 0.4974).clamp(-1.5, 1.5), atol=0.05, rtol=0)
    assert not moved.requires_grad


def test_the_first_weights_judge_what_is_drawn(
    spec: NetworkSpec, network: DomainNetwork, plain: torch.Tensor
) -> None:
    translation = make(spec, network)
    before = copy.deepcopy(translation.judge.state_dict())
    kept = translation.compare(plain, progress=0.2)["objects_kept"]
    assert float(kept) > 0.9
    assert translation.compare(plain, progress=0.21) == {}
    translation.generator_average.head.weight.data.normal_(0.0, 10.0)
    assert float(translation.compare(plain, progress=0.4)["objects_kept"]) < 0.8
    assert all(torch.equal(tensor, before[name]) for name, tensor in translation.judge.state_dict().items())
    assert make(spec, network, trained_start=False).compare(plain, progress=0.2) == {}


def test_it_rings(spec: NetworkSpec, network: DomainNetwork) -> None:
    translation = make(spec, network)
    assert translation.alarms() == ()
    for name in ("gate", "negatives"):
        translation.watched.note(name, torch.tensor(0.01))
    translation.watched.note("inconsistency", torch.tensor(0.9))
    translation.judged.note("objects_kept", torch.tensor(0.5))
    gate, inconsistent, negatives, invention = translation.alarms()
    assert "gate of the translation has closed (mean 0.010" in gate
    assert "places are 0.90 times as unlike themselves as others" in inconsistent
    assert "contrast of the translation has collapsed" in negatives
    assert "removes or invents objects (Dice 0.50" in invention


def test_it_learns_at_a_rate_of_its_own(spec: NetworkSpec, network: DomainNetwork) -> None:
    translation = make(spec, network)
    (rate,) = translation.rates()
    assert (rate.lr, rate.betas, rate.weight_decay) == (1e-3, (0.5, 0.999), 0.0)
    assert set(rate.part.parameters()) == {p for p in translation.parameters() if p.requires_grad}
