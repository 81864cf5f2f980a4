"""Changes of crops: geometry moves image and labels alike, intensity keeps to its bounds."""

import numpy as np
import pytest
import torch

from dmn_train.augment import change_intensity, draw_warp, window_px
from dmn_train.recipe import AugmentSection

STILL = AugmentSection(flip=False, warp=0.0, elastic=0.0, strength=0.0)
STRONG = AugmentSection(warp=1.0, elastic=1.0, rotate_degrees=180.0, scale=1.5, elastic_px=4.0)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def noise(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blobs(count: int, edge: int) -> torch.Tensor:
    coarse = torch.randn(count, 1, 7, 7, generator=noise(4))
    return torch.nn.functional.interpolate(coarse, (edge, edge), mode="bicubic", align_corners=True)


@pytest.mark.parametrize(("crop", "window"), [(32, 32), (33, 33)])
def test_without_geometry_the_window_is_the_crop(crop: int, window: int) -> None:
    assert window_px(STILL, crop) == window


@pytest.mark.parametrize("crop", [16, 31, 192])
def test_the_window_has_the_parity_of_the_crop(crop: int) -> None:
    assert (window_px(STRONG, crop) - crop) % 2 == 0


def test_no_change_is_the_identity() -> None:
    window = blobs(3, 40)
    warp = draw_warp(rng(), STILL, 3, crop_px=32, edge_px=40)
    torch.testing.assert_close(warp.image(window), window[..., 4:36, 4:36], rtol=0, atol=1e-5)


def test_flips_and_quarter_turns_reach_all_eight_and_are_exact() -> None:
    window = torch.arange(36.0).reshape(1, 1, 6, 6).repeat(64, 1, 1, 1)
    section = AugmentSection(flip=True, warp=0.0, elastic=0.0)
    crops = draw_warp(rng(), section, 64, crop_px=6, edge_px=6).labels(window)[:, 0]
    symmetries = set()
    for turns in range(4):
        turned = torch.rot90(window[0, 0], turns)
        symmetries |= {tuple(turned.flatten().tolist()), tuple(turned.flip(0).flatten().tolist())}
    assert {tuple(crop.flatten().tolist()) for crop in crops} == symmetries


def test_labels_follow_the_image() -> None:
    """Where the warped field is clearly above 0, so is the warped label of the field being above 0."""
    edge = window_px(STRONG, 64)
    field = blobs(8, edge)
    warp = draw_warp(rng(1), STRONG, 8, crop_px=64, edge_px=edge)
    image, label = warp.image(field), warp.labels((field > 0).float())
    sure = image.abs() > 0.15
    assert sure.float().mean() > 0.6
    assert ((image > 0) == (label > 0.5))[sure].float().mean() > 0.999


def test_each_crop_has_its_own_geometry() -> None:
    edge = window_px(STRONG, 32)
    crops = draw_warp(rng(2), STRONG, 2, 32, edge).image(blobs(1, edge).repeat(2, 1, 1, 1))
    assert (crops[0] - crops[1]).abs().max() > 0.1


@pytest.mark.parametrize("channels", [1, 3])
def test_intensity_keeps_shape_and_bounds_and_changes_something(channels: int) -> None:
    image = blobs(8, 64).repeat(1, channels, 1, 1).clamp(-2, 2)
    before = image.clone()
    changed = change_intensity(image, rng(), noise(), strength=1.0, clip=2.0)
    assert changed.shape == image.shape
    assert changed.dtype == torch.float32
    assert float(changed.abs().max()) <= 2.0
    assert torch.isfinite(changed).all()
    assert ((changed - before).abs().mean(dim=(1, 2, 3)) > 0.01).all()
    assert torch.equal(image, before)


def test_strength_zero_changes_nothing() -> None:
    image = blobs(2, 16)
    assert change_intensity(image, rng(), noise(), strength=0.0, clip=2.0) is image


def test_intensity_is_a_function_of_its_generators() -> None:
    image = blobs(4, 32)
    one, two, other = (
        change_intensity(image, rng(seed), noise(seed), strength=1.0, clip=2.0) for seed in (1, 1, 2)
    )
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_intensity_keeps_the_order_of_grey_values_on_the_whole() -> None:
    """Inversion is off: dark stays darker than bright."""
    image = torch.cat([torch.full((64, 1, 32, 16), -0.6), torch.full((64, 1, 32, 16), 0.6)], dim=3)
    changed = change_intensity(image, rng(9), noise(9), strength=1.0, clip=2.0)
    dark, bright = changed[..., :16].mean(dim=(1, 2, 3)), changed[..., 16:].mean(dim=(1, 2, 3))
    assert (bright > dark).float().mean() > 0.95
