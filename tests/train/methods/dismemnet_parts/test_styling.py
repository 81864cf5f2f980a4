"""Images come from the moving average, within the range; what has gone wrong is told."""

import copy

import pytest
import torch

from dmn_train.domains import DomainNetwork
from dmn_train.methods.dismemnet_parts.facts import RunFacts
from dmn_train.methods.dismemnet_parts.styling import Styling
from dmn_train.networks.sizes import NetworkSpec
from dmn_train.sections import TranslationSection

SECTION = TranslationSection(base=2, blocks=1, discriminator_base=2, stages=(0, 2), locations=8, decay=0.5)


def make(spec: NetworkSpec, network: DomainNetwork, *, trained_start: bool = True) -> Styling:
    torch.manual_seed(2)
    facts = RunFacts(seed=0, steps=100, clip=1.5, trained_start=trained_start)
    styling = Styling(SECTION, spec, facts)
    styling.begin(network)
    return styling.train()


@pytest.fixture
def plain() -> torch.Tensor:
    return torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(1)).clamp(-1.5, 1.5)


def test_images_are_the_averages_and_within_the_range(
    spec: NetworkSpec, network: DomainNetwork, plain: torch.Tensor
) -> None:
    styling = make(spec, network)
    assert float((styling.paint(plain) - plain).abs().max()) < 0.1  # it begins as it is
    head = styling.translator.generator.head
    assert head.bias is not None
    head.bias.data.fill_(1.0)
    assert float((styling.paint(plain) - plain).abs().max()) < 0.1
    styling.follow(done=1000)  # a decay of 1 / 2
    moved = styling.paint(plain)
    assert float(moved.max()) == 1.5
    torch.testing.assert_close(moved, (plain + 0.4974).clamp(-1.5, 1.5), atol=0.05, rtol=0)
    assert not moved.requires_grad


def test_the_first_weights_judge_what_is_drawn(
    spec: NetworkSpec, network: DomainNetwork, plain: torch.Tensor
) -> None:
    styling = make(spec, network)
    before = copy.deepcopy(styling.judge.state_dict())
    kept = styling.compare(plain, progress=0.2)["objects_kept"]
    assert float(kept) > 0.9
    assert styling.compare(plain, progress=0.21) == {}
    styling.painter.head.weight.data.normal_(0.0, 10.0)
    assert float(styling.compare(plain, progress=0.4)["objects_kept"]) < 0.8
    assert all(torch.equal(tensor, before[name]) for name, tensor in styling.judge.state_dict().items())
    assert make(spec, network, trained_start=False).compare(plain, progress=0.2) == {}


def test_it_rings(spec: NetworkSpec, network: DomainNetwork) -> None:
    styling = make(spec, network)
    assert styling.alarms() == ()
    for name in ("gate", "negatives"):
        styling.watched.note(name, torch.tensor(0.01))
    styling.judged.note("agreement", torch.tensor(0.5))
    gate, negatives, invention = styling.alarms()
    assert "gate of the translation has closed (mean 0.010" in gate
    assert "contrast of the translation has collapsed" in negatives
    assert "removes or invents objects (Dice 0.50" in invention


def test_it_learns_at_a_rate_of_its_own(spec: NetworkSpec, network: DomainNetwork) -> None:
    styling = make(spec, network)
    (rate,) = styling.rates()
    assert (rate.lr, rate.betas, rate.weight_decay) == (1e-3, (0.5, 0.999), 0.0)
    assert set(rate.part.parameters()) == {p for p in styling.parameters() if p.requires_grad}
