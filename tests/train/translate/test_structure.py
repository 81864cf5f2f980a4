"""The structure loss by hand, and what is free in it."""

import pytest
import torch

from dmn_train.losses import soft_dice
from dmn_train.translate.regions import outline_band
from dmn_train.translate.sobel import relative_slopes
from dmn_train.translate.structure import edge_change, structure_loss


def disc(shift_px: int = 0) -> torch.Tensor:
    rows, columns = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    return ((rows - 16) ** 2 + (columns - 14 - shift_px) ** 2 < 64).float()[None, None]


def test_a_change_of_contrast_is_free_and_a_moved_edge_is_not() -> None:
    truth = disc()
    image, band = 1.0 - 1.5 * truth, outline_band(truth)
    assert edge_change(0.3 - 0.4 * image, image, band) < 0.1
    assert edge_change(1.0 - 1.5 * disc(3), image, band) > 0.5


def test_edges_are_the_mean_over_the_band_by_hand() -> None:
    random = torch.Generator().manual_seed(0)
    one, two = (torch.randn(2, 1, 6, 6, generator=random) for _ in range(2))
    band = torch.zeros(2, 1, 6, 6, dtype=torch.bool)
    band[0, 0, 1, 2] = band[1, 0, 3, 3] = True
    change = (relative_slopes(one) - relative_slopes(two)).abs()
    expected = (change[0, 0, 1, 2] + change[1, 0, 3, 3]) / 2
    torch.testing.assert_close(edge_change(one, two, band), expected)
    assert edge_change(one, two, torch.zeros_like(band)).item() == 0.0


def test_the_terms_and_their_sum_with_the_middle_slice() -> None:
    random = torch.Generator().manual_seed(0)
    before, after = (torch.randn(1, 3, 32, 32, generator=random) for _ in range(2))
    truth, valid = disc(), torch.ones(1, 1, 32, 32)
    valid[..., :9] = 0.0
    band, logits = outline_band(truth), torch.randn(1, 1, 32, 32, generator=random)
    terms = structure_loss(logits, truth, valid, after, before, band)
    assert terms["structure_dice"].item() == pytest.approx(soft_dice(logits, truth, valid).item())
    edges = edge_change(after[:, 1:2], before[:, 1:2], band)
    assert terms["structure_edges"].item() == pytest.approx(edges.item())
    assert terms["structure"].item() == pytest.approx((terms["structure_dice"] + 0.5 * edges).item())
