"""Views: turns that are undone, blocks and boxes of the size asked for, and the masked view made of them."""

import numpy as np
import pytest
import torch

from dmn_train.sections import ViewsSection
from dmn_train.views import MOST_VIEWS, TargetViews, draw_views, masked_view, turned, turned_back

PLAIN, TRUTH = torch.zeros(6, 1, 64, 64), torch.zeros(6, 1, 64, 64)


def draw(truth: torch.Tensor = TRUTH, seed: int = 0, **keys: object) -> TargetViews:
    section = ViewsSection(**{"hidden_share": 0.0, **keys})  # type: ignore[arg-type]
    return draw_views(np.random.default_rng(seed), section, PLAIN, truth)


def test_the_eight_views_differ_and_are_turned_back() -> None:
    image = torch.arange(9.0).reshape(1, 1, 3, 3)
    seen = {tuple(turned(image, view).flatten().tolist()) for view in range(MOST_VIEWS)}
    assert len(seen) == MOST_VIEWS
    assert torch.equal(turned(image, 0), image)
    for view in range(MOST_VIEWS):
        assert torch.equal(turned_back(turned(image, view), view), image)


def test_a_view_by_hand() -> None:
    image = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    assert turned(image, 1).flatten().tolist() == [2.0, 1.0, 4.0, 3.0]
    assert turned(image, 2).flatten().tolist() == [2.0, 4.0, 1.0, 3.0]


@pytest.mark.parametrize("share", [0.25, 0.7])
def test_the_share_of_hidden_blocks_is_met_and_a_block_is_hidden_whole(share: float) -> None:
    shown = torch.cat([draw(seed=seed, hidden_share=share, block_px=8).shown for seed in range(20)])
    assert shown.shape == (120, 1, 64, 64)
    assert set(shown.unique().tolist()) == {0.0, 1.0}
    assert 1.0 - shown.mean().item() == pytest.approx(share, abs=0.02)
    for one in shown[:6, 0]:
        edges = (one[:, 1:] != one[:, :-1]).any(dim=0).nonzero().flatten()
        assert len({int(edge) % 8 for edge in edges}) == 1  # a grid of 8 px, wherever it begins
    starts = {int((one[:, 1:] != one[:, :-1]).any(dim=0).nonzero()[0]) % 8 for one in shown[:, 0]}
    assert len(starts) > 4


def test_a_hole_is_a_square_inside_the_crop() -> None:
    hidden = 1.0 - draw(hole_px=10).shown
    assert hidden.sum(dim=(1, 2, 3)).tolist() == [100.0] * 6
    for one in hidden[:, 0]:
        assert (int(one.any(dim=0).sum()), int(one.any(dim=1).sum())) == (10, 10)
    assert torch.equal(1.0 - draw(hole_px=99).shown, torch.ones_like(TRUTH))


def test_what_is_pasted() -> None:
    truth = (torch.rand(TRUTH.shape, generator=torch.Generator().manual_seed(2)) < 0.2).float()
    assert not draw(truth, hole_px=3).pasted.any()
    assert torch.equal(draw(truth, mix="class").pasted, truth)
    for one in draw(truth, mix="cut").pasted[:, 0]:
        height, width = int(one.any(dim=1).sum()), int(one.any(dim=0).sum())
        assert one.sum() == height * width
        assert 16 <= min(height, width) <= max(height, width) <= 48


def test_the_masked_view_by_hand() -> None:
    strong, source = torch.full((1, 2, 1, 3), 0.5), torch.full((1, 2, 1, 3), -0.5)
    shown, pasted = torch.tensor([[[[1.0, 1.0, 0.0]]]]), torch.tensor([[[[0.0, 1.0, 1.0]]]])
    view = masked_view(strong, source, TargetViews(strong, shown, pasted))
    assert view[0, :, 0].tolist() == [[0.5, -0.5, 0.0]] * 2
