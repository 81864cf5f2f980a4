"""How far two networks agree: wholly with oneself, by hand where one finds everything."""

from pathlib import Path

import pytest
import torch

from dmn_train.run import load_run
from dmn_train.student.agreement import agreement, target_tiles


def test_agreement_by_hand(teacher: Path) -> None:
    run = load_run(teacher)
    tiles = target_tiles(run.placed)
    network, everything = run.network(), run.network()
    assert everything.head.bias is not None
    everything.head.bias.data.fill_(100.0)
    alike = agreement(network, network, tiles, views=1)
    assert alike.iou == 1.0
    assert alike.student.shape == alike.teacher.shape == (3, 1, tiles.core_px, tiles.core_px)
    torch.testing.assert_close(alike.student, alike.teacher)
    share = float((alike.teacher >= 0.5).float().mean())
    assert 0.0 < share < 1.0
    assert agreement(network, everything, tiles, views=1).iou == pytest.approx(share)
    assert agreement(everything, network, tiles, views=8).iou == pytest.approx(share)
    # What a raised threshold leaves out is no foreground.
    none = agreement(network, everything, tiles, views=1, thresholds=(1.1, 0.5))
    assert none.iou == 0.0
    assert agreement(network, everything, tiles, views=1, thresholds=(1.1, 1.1)).iou == 1.0


def test_the_same_call_gives_the_same_tiles(teacher: Path) -> None:
    placed = load_run(teacher).placed
    assert torch.equal(target_tiles(placed).images, target_tiles(placed).images)
