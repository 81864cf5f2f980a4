"""Steepness by hand."""

import torch

from dmn_train.translate.sobel import LEAST_SLOPE, relative_slopes, sobel_magnitude


def test_a_ramp_is_as_steep_as_it_rises() -> None:
    rows, columns = torch.meshgrid(torch.arange(6.0), torch.arange(7.0), indexing="ij")
    inside = sobel_magnitude((0.3 * rows + 0.4 * columns)[None, None])[0, 0, 1:-1, 1:-1]
    torch.testing.assert_close(inside, torch.full((4, 5), 0.5))


def test_a_lone_pixel_by_hand() -> None:
    image = torch.zeros(1, 1, 5, 5)
    image[0, 0, 2, 2] = 8.0
    slopes = sobel_magnitude(image)[0, 0]
    # Beside it 2 across; at its corners 1 down and 1 across; on it nothing.
    torch.testing.assert_close(slopes[2, 1], torch.tensor(2.0))
    torch.testing.assert_close(slopes[1, 1], torch.tensor(2.0).sqrt())
    torch.testing.assert_close(slopes[2, 2], torch.tensor(LEAST_SLOPE))


def test_flat_ground_has_a_finite_gradient() -> None:
    image = torch.zeros(1, 1, 4, 4, requires_grad=True)
    relative_slopes(image).sum().backward()
    assert image.grad is not None
    assert image.grad.isfinite().all()


def test_a_gain_hardly_changes_relative_slopes_and_their_mean_is_1() -> None:
    image = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    image[1] *= 0.3
    plain = relative_slopes(image)
    torch.testing.assert_close(plain.mean(dim=(1, 2, 3)), torch.ones(2))
    torch.testing.assert_close(relative_slopes(-3.0 * image), plain, atol=1e-3, rtol=1e-3)
