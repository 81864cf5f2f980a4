"""One step: its terms and their sum, where gradients go, and that nothing but the given generator draws."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from dmn_train.networks.sizes import NetworkSpec
from dmn_train.networks.unet import UNet
from dmn_train.translate.alarms import consistency_alarm, gate_alarm, negatives_alarm
from dmn_train.translate.discriminator import adversarial_loss, discriminator_loss
from dmn_train.translate.locations import draw_locations, gather
from dmn_train.translate.objective import Pair, Translation, Translator
from dmn_train.translate.options import ContrastSpec, GeneratorSpec, Reading, TranslationSpec
from dmn_train.translate.regions import find_regions
from dmn_train.translate.structure import structure_loss

Gradients = dict[str, torch.Tensor]


def make(spec: TranslationSpec) -> Translator:
    torch.manual_seed(7)
    return Translator(spec)


def segmenter() -> UNet:
    torch.manual_seed(8)
    return UNet(NetworkSpec(base=2, levels=2, context_slices=0))


def step(translator: Translator, pair: Pair, network: nn.Module | None = None, seed: int = 0) -> Translation:
    result: Translation = translator(
        pair, segmenter() if network is None else network, torch.Generator().manual_seed(seed)
    )
    return result


def gradients(module: nn.Module) -> Gradients:
    return {name: weight.grad for name, weight in module.named_parameters() if weight.grad is not None}


def gradients_of(spec: TranslationSpec, pair: Pair, term: str) -> Gradients:
    translator = make(spec)
    step(translator, pair).losses[term].backward()
    return {name: gradient for name, gradient in gradients(translator).items() if gradient.abs().max() > 0}


def parts(found: Gradients) -> set[str]:
    return {name.split(".")[0] for name in found}


@pytest.mark.parametrize(
    ("term", "reached"),
    [
        ("discriminator", {"discriminator"}),
        ("adversarial", {"generator"}),
        ("structure", {"generator"}),
        ("nce", {"generator", "heads"}),
        ("nce_identity", {"generator", "heads"}),
    ],
)
def test_each_term_reaches_what_it_should_and_nothing_else(
    small: TranslationSpec, pair: Pair, term: str, reached: set[str]
) -> None:
    assert parts(gradients_of(small, pair, term)) == reached


def test_a_learned_gate_learns_from_the_contrast_of_its_own_pass(small: TranslationSpec, pair: Pair) -> None:
    spec = replace(small, gate="learned")
    assert parts(gradients_of(spec, pair, "nce")) == {"generator", "heads", "source_gate"}
    assert parts(gradients_of(spec, pair, "nce_identity")) == {"generator", "heads", "target_gate"}
    assert parts(gradients_of(spec, pair, "gate_pull")) == {"source_gate", "target_gate"}


def test_one_backward_pass_gives_discriminator_and_generator_the_gradients_of_their_own_losses(
    small: TranslationSpec, pair: Pair
) -> None:
    together, network = make(small), segmenter()
    step(together, pair, network).losses["translation"].backward()
    assert not gradients(network)

    apart = make(small)
    translated = apart.generator(pair.source).image
    discriminator_loss(apart.discriminator(pair.target), apart.discriminator(translated.detach())).backward()
    expected = gradients(apart.discriminator)
    assert expected
    for name, gradient in gradients(together.discriminator).items():
        torch.testing.assert_close(gradient, expected[name])

    apart = make(small).requires_grad_(True)
    apart.discriminator.requires_grad_(False)
    frozen = segmenter().requires_grad_(False)
    losses = step(apart, pair).losses
    translated = apart.generator(pair.source).image
    band = find_regions(pair.truth, pair.valid).band
    structure = structure_loss(frozen(translated), pair.truth, pair.valid, translated, pair.source, band)
    total = adversarial_loss(apart.discriminator(translated)) + structure["structure"]
    (total + (losses["nce"] + losses["nce_identity"]) / 2).backward()
    expected = gradients(apart.generator)
    assert len(expected) == len(list(apart.generator.parameters()))
    for name, gradient in gradients(together.generator).items():
        torch.testing.assert_close(gradient, expected[name], atol=1e-6, rtol=1e-4)


def test_the_sum_is_that_of_the_weighted_terms(small: TranslationSpec, pair: Pair) -> None:
    spec = replace(small, gate="learned", adversarial=0.5, nce=3.0, structure=0.25)
    losses = step(make(spec), pair).losses
    expected = (
        losses["discriminator"]
        + 0.5 * losses["adversarial"]
        + 3.0 * (losses["nce"] + losses["nce_identity"]) / 2
        + losses["gate_pull"]
        + 0.25 * losses["structure"]
    )
    torch.testing.assert_close(losses["translation"], expected)
    assert all(value.ndim == 0 for value in losses.values())


def test_what_is_switched_off_is_not_there(small: TranslationSpec, pair: Pair) -> None:
    losses = step(make(replace(small, identity=False, structure=0.0)), pair).losses
    names = {"translation", "discriminator", "adversarial", "nce", "gate", "inconsistency", "negatives"}
    assert set(losses) == names
    expected = losses["discriminator"] + losses["adversarial"] + losses["nce"]
    torch.testing.assert_close(losses["translation"], expected)


def test_places_of_the_translation_are_to_be_known_again_among_those_of_the_source(
    small: TranslationSpec, pair: Pair
) -> None:
    """The plain contrast of CUT, at the places that the generator of random numbers draws first."""
    contrast = ContrastSpec(
        stages=(2,),
        locations=24,
        width=8,
        likely_share=0.0,
        least_cells=1.0,
        most_cosine=2.0,
        least_share=0.0,
    )
    translator = make(replace(small, contrast=contrast, gate="none", identity=False))
    translator.generator.head.weight.data.normal_(generator=torch.Generator().manual_seed(1))
    result = step(translator, pair)
    assert (result.image - pair.source).abs().mean() > 1.0

    everywhere = torch.ones(2, 16, 16, dtype=torch.bool)
    places = draw_locations(everywhere, 24, 0.0, torch.Generator().manual_seed(0))
    keys, queries = (
        translator.heads(gather(translator.generator.features(image, (2,))[0], places), 0)
        for image in (pair.source, result.image)
    )
    same_place = (places[:, :, None] == places[:, None, :]) & ~torch.eye(24, dtype=torch.bool)
    likeness = (queries @ keys.mT / 0.07).masked_fill(same_place, -torch.inf)
    expected = functional.cross_entropy(likeness.flatten(0, 1), torch.arange(24).repeat(2))
    torch.testing.assert_close(result.losses["nce"], expected)


def test_heads_that_make_all_places_alike_are_told(small: TranslationSpec, pair: Pair) -> None:
    """Half of the pairs count all the same, or nothing would part the places again."""
    translator = make(small)
    assert negatives_alarm(float(step(translator, pair).losses["negatives"])) is None
    for head in translator.heads.heads:
        last = [weight.data for weight in head.parameters()][-2:]
        last[0].zero_()
        last[1].fill_(1.0)
    losses = step(translator, pair).losses
    assert float(losses["nce"].detach()) > 1.0
    assert float(losses["negatives"]) == 0.0
    assert negatives_alarm(float(losses["negatives"])) is not None


@pytest.mark.parametrize("gate", ["rule", "consistency", "inverted"])
def test_a_translator_that_leaves_nothing_in_place_is_told(
    small: TranslationSpec, pair: Pair, gate: Reading
) -> None:
    """By the mean of a gate it is not: its kappa follows the distances."""
    translator = make(replace(small, gate=gate))
    healthy = step(translator, pair).losses
    assert consistency_alarm(float(healthy["inconsistency"])) is None
    random = torch.Generator().manual_seed(1)
    translator.generator.head.weight.data.normal_(0.0, 10.0, generator=random)
    for _ in range(30):
        collapsed = step(translator, pair).losses
    assert consistency_alarm(float(collapsed["inconsistency"])) is not None
    assert gate_alarm(float(collapsed["gate"])) is None


def test_the_translation_is_handed_out_detached(small: TranslationSpec, pair: Pair) -> None:
    translator = make(small)
    result = step(translator, pair)
    assert not result.image.requires_grad
    assert torch.equal(result.image, translator.generator(pair.source).image)
    assert result.image.dtype == torch.float32


def test_the_segmentation_network_does_not_move(small: TranslationSpec, pair: Pair) -> None:
    network = segmenter().train()
    before = copy.deepcopy(network.state_dict())
    step(make(small), pair, network)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_the_given_generator_draws_everything(small: TranslationSpec, pair: Pair) -> None:
    translator, network = make(replace(small, gate="foreground")), segmenter()
    state = torch.get_rng_state()
    first, again, other = (step(translator, pair, network, seed=seed).losses for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["nce"], other["nce"])


def test_what_is_remembered_is_in_the_state(small: TranslationSpec, pair: Pair) -> None:
    translator = make(small)
    step(translator, pair)
    resumed = make(small)
    resumed.load_state_dict(translator.state_dict())
    expected, found = step(translator, pair, seed=1).losses, step(resumed, pair, seed=1).losses
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert translator.source_gate.seen.tolist() == [2, 2, 2]


def test_where_the_teacher_believes_foreground_the_identity_counts_more(
    small: TranslationSpec, pair: Pair
) -> None:
    spec = replace(small, gate="foreground")
    believed = pair._replace(target_probability=0.9 * pair.truth)
    without, with_teacher = step(make(spec), pair).losses, step(make(spec), believed).losses
    assert torch.equal(without["nce"], with_teacher["nce"])
    assert not torch.equal(without["nce_identity"], with_teacher["nce_identity"])


def test_the_gate_that_is_told_is_its_mean(small: TranslationSpec, pair: Pair) -> None:
    assert step(make(replace(small, gate="none")), pair).losses["gate"].item() == 1.0
    rule = step(make(small), pair).losses["gate"].item()
    assert 0.05 < rule < step(make(replace(small, gate="foreground")), pair).losses["gate"].item() < 1.0


def test_context_slices_are_channels(small: TranslationSpec, pair: Pair) -> None:
    spec = replace(
        small,
        generator=GeneratorSpec(channels=3, base=4, blocks=1),
        discriminator=replace(small.discriminator, channels=3),
    )
    deep = pair._replace(source=pair.source.repeat(1, 3, 1, 1), target=pair.target.repeat(1, 3, 1, 1))
    torch.manual_seed(8)
    network = UNet(NetworkSpec(base=2, levels=2, context_slices=1))
    result = step(make(spec), deep, network)
    assert result.image.shape == (2, 3, 32, 32)
    assert result.losses["translation"].isfinite()


def test_in_bfloat16_every_weight_learns(small: TranslationSpec, pair: Pair) -> None:
    translator = make(replace(small, gate="learned"))
    with torch.autocast("cpu", torch.bfloat16):
        result = step(translator, pair)
    assert all(value.dtype == torch.float32 for value in result.losses.values())
    assert result.image.dtype == torch.float32
    result.losses["translation"].backward()
    for name, weight in translator.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name
