"""The generator: sizes and slices that go in come out, at first almost as they were."""

import pytest
import torch

from dmn_train.translate.generator import REACH, DoubleSize, Generator, HalfSize
from dmn_train.translate.options import GeneratorSpec


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1)).clamp(-2.0, 2.0)


def make(**keys: int) -> Generator:
    torch.manual_seed(2)
    return Generator(GeneratorSpec(**{"base": 4, "blocks": 2, **keys}))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("height", "width"), [(16, 16), (24, 40), (64, 32)])
def test_what_comes_out_has_the_shape_of_what_goes_in(channels: int, height: int, width: int) -> None:
    image = noise(2, channels, height, width)
    translated = make(channels=channels)(image, (0, 1, 2, 3, 5))
    assert translated.image.shape == image.shape
    assert [tuple(feature.shape[1:]) for feature in translated.features] == [
        (channels, height, width),
        (4, height, width),
        (8, height // 2, width // 2),
        (16, height // 4, width // 4),
        (16, height // 4, width // 4),
    ]
    assert torch.equal(translated.features[0], image)


def test_the_spec_tells_the_channels_of_every_stage() -> None:
    generator = make(channels=3)
    assert generator.spec.stages == 6
    features = generator(noise(1, 3, 16, 16), tuple(range(6))).features
    assert [feature.shape[1] for feature in features] == [3, 4, 8, 16, 16, 16]
    assert [generator.spec.stage_channels(stage) for stage in range(6)] == [3, 4, 8, 16, 16, 16]


def test_it_starts_near_the_identity() -> None:
    image = noise(2, 1, 32, 32)
    change = (Generator(GeneratorSpec())(image).image - image).abs()
    assert 0.0 < change.mean() < 0.03
    assert change.max() < 0.2


def test_every_weight_learns_from_the_first_step_on() -> None:
    generator = make()
    generator(noise(2, 1, 16, 16)).image.square().mean().backward()
    assert all(weight.grad is not None and weight.grad.abs().max() > 0 for weight in generator.parameters())


def test_what_is_added_is_bounded() -> None:
    generator, image = make(), noise(1, 1, 16, 16)
    torch.nn.init.constant_(generator.head.bias, 1e4)
    torch.testing.assert_close(generator(image).image, image + REACH)


def test_features_alone_are_those_made_on_the_way() -> None:
    generator, image = make(), noise(1, 1, 16, 16)
    whole = generator(image, (0, 2, 5)).features
    assert all(map(torch.equal, generator.features(image, (0, 2, 5)), whole))


def test_features_of_early_stages_do_not_wait_for_the_blocks() -> None:
    generator, made = make(), []
    for number, stage in enumerate(generator.encoder, start=1):
        stage.register_forward_hook(lambda *_, number=number: made.append(number))
    assert len(generator.features(noise(1, 1, 16, 16), (0, 3))) == 2
    assert made == [1, 2, 3]


def test_halving_is_a_binomial_mean_without_a_shift() -> None:
    row = torch.zeros(8)
    row[2] = 1.0
    halved = HalfSize()(row.expand(1, 1, 8, 8))
    torch.testing.assert_close(halved[0, 0, 1], torch.tensor([0.125, 0.375, 0.0, 0.0]))
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    torch.testing.assert_close(HalfSize()(ramp)[0, 0, 2, 1:3], torch.tensor([2.5, 4.5]))


def test_halving_leaves_nothing_of_a_checkerboard() -> None:
    checks = (torch.arange(16)[:, None] + torch.arange(16)) % 2 * 2.0 - 1.0
    assert HalfSize()(checks.expand(1, 1, 16, 16)).abs().max() < 1e-6


def test_doubling_spreads_a_value_by_the_same_low_pass() -> None:
    row = torch.zeros(4)
    row[1] = 8.0
    doubled = DoubleSize()(row.expand(1, 1, 4, 4))
    torch.testing.assert_close(doubled[0, 0, 3], torch.tensor([0.0, 2.0, 6.0, 6.0, 2.0, 0.0, 0.0, 0.0]))


def test_sizes_that_cannot_be_halved_twice_are_refused() -> None:
    with pytest.raises(AssertionError, match="multiples of 4 px"):
        make()(noise(1, 1, 16, 18))


def test_it_can_take_away_the_finest_grain() -> None:
    torch.manual_seed(0)
    generator = Generator(GeneratorSpec(base=8, blocks=1))
    adam = torch.optim.Adam(generator.parameters(), lr=1e-2)
    for step in range(60):
        random = torch.Generator().manual_seed(step)
        grain = 0.3 * torch.randn(1, 1, 32, 32, generator=random)
        moved = generator(grain).image
        loss = moved.square().mean() / grain.square().mean()
        loss.backward()
        adam.step()
        adam.zero_grad()
    assert loss.item() < 0.5


def test_it_knows_how_bright_an_image_is() -> None:
    generator, image = make(), noise(1, 1, 16, 16)
    (dark,), (bright,) = (generator.features(grey, (1,)) for grey in (image, image + 1.0))
    assert (bright - dark).abs().mean() > 0.05
