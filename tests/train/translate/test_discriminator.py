"""The discriminator: verdicts on patches, least squares by hand, nothing shared between images."""

import pytest
import torch

from dmn_train.translate.discriminator import Discriminator, adversarial_loss, discriminator_loss
from dmn_train.translate.options import DiscriminatorSpec, smallest_crop_px


def make(**keys: int) -> Discriminator:
    torch.manual_seed(3)
    return Discriminator(DiscriminatorSpec(**{"base": 4, **keys}))


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("halvings", "edge", "verdicts"), [(3, 64, 6), (3, 160, 18), (2, 32, 6), (1, 20, 8), (3, 24, 1)]
)
def test_verdicts_lie_on_a_grid(channels: int, halvings: int, edge: int, verdicts: int) -> None:
    found = make(channels=channels, halvings=halvings)(noise(2, channels, edge, edge))
    assert found.shape == (2, 1, verdicts, verdicts)


@pytest.mark.parametrize(("halvings", "seen_px"), [(2, 34), (3, 70)])
def test_a_verdict_sees_so_many_pixels(halvings: int, seen_px: int) -> None:
    image = noise(1, 1, 128, 128).requires_grad_()
    verdicts = make(halvings=halvings)(image)
    middle = verdicts.shape[2] // 2
    verdicts[0, 0, middle, middle].backward()
    assert image.grad is not None
    assert int(image.grad[0, 0].abs().sum(0).gt(0).sum()) == seen_px


@pytest.mark.parametrize("halvings", [1, 2, 3, 4])
def test_the_smallest_crop_still_has_a_verdict(halvings: int) -> None:
    spec = DiscriminatorSpec(base=2, halvings=halvings)
    edge = smallest_crop_px(spec)
    assert Discriminator(spec)(noise(1, 1, edge, edge)).numel() > 0


@pytest.mark.parametrize("spectral", [False, True])
def test_an_image_is_judged_by_itself(spectral: bool) -> None:
    judge, images = make(spectral=spectral).eval(), noise(3, 1, 32, 32)
    torch.testing.assert_close(judge(images)[1:2], judge(images[1:2]))


def test_it_is_told_mean_and_contrast() -> None:
    judge, image = make(), noise(1, 1, 32, 32)
    plain = judge(image)
    assert (judge(image + 1.0) - plain).abs().mean() > 1e-3
    assert (judge(0.5 * image) - plain).abs().mean() > 1e-3


def test_spectral_weights_have_a_largest_singular_value_of_1() -> None:
    judge = make(spectral=True)
    for _ in range(30):
        judge(noise(1, 1, 32, 32))
    convolutions = [layer for layer in judge.layers if isinstance(layer, torch.nn.Conv2d)]
    assert len(convolutions) == 5
    for layer in convolutions:
        largest = torch.linalg.matrix_norm(layer.weight.detach().flatten(1), ord=2)
        torch.testing.assert_close(largest, torch.tensor(1.0), atol=0.02, rtol=0.0)


def test_least_squares_by_hand() -> None:
    on_target = torch.tensor([[1.0, 0.5]])  # 0 and 0.25: 0.125
    on_translated = torch.tensor([[0.5, -1.0, 0.0, 0.0]])  # 0.25 and 1: 0.3125
    assert discriminator_loss(on_target, on_translated).item() == pytest.approx(0.21875)
    assert adversarial_loss(on_translated).item() == pytest.approx((0.25 + 4.0 + 1.0 + 1.0) / 4)


def test_a_discriminator_that_cannot_tell_has_a_quarter() -> None:
    half = torch.full((2, 1, 3, 3), 0.5)
    assert discriminator_loss(half, half).item() == 0.25
    assert adversarial_loss(half).item() == 0.25
