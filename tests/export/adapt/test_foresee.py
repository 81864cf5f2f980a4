"""What is foreseen, by a clock that ticks a second whenever it is looked at."""

from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from dmn_export.adapt import made_up
from dmn_export.adapt.defaults import Drawn
from dmn_export.adapt.estimate import Expected
from dmn_export.adapt.foresee import foresee
from dmn_export.adapt.plan import Plan, plan_stages
from dmn_export.adapt.volumes import look_at
from dmn_export.adapt.wishes import AdaptWishes
from dmn_export.adapt.work import FRESH, StageState
from dmn_train import source

DONE = StageState(begun=True, done=60, finished=True)
EXPORT, QUALITY = Expected("export", 0, 1.0 + 20.0 + 400.0), Expected("quality", 0, 1.0 + 12 * 9.0)


def planned(wishes: AdaptWishes, folder: Path) -> Plan:
    return plan_stages(wishes, look_at(wishes), "mito", folder / "mito.adapt")


def foreseen(plan: Plan, so_far: list[StageState]) -> list[Expected]:
    ticks = count(0, 1)
    return foresee(plan, so_far, lambda: float(next(ticks)))


@pytest.mark.usefixtures("small")
def test_a_few_made_up_volumes_are_drawn_and_the_others_counted_once(
    wishes: AdaptWishes, two_volumes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(made_up.DRAWN, "base", Drawn(12, 0.5))
    monkeypatch.setitem(made_up.DRAWN, "adapt", Drawn(9, 0.0))
    source._drawn.cache_clear()
    found = foreseen(planned(replace(wishes, phantoms=True), two_volumes), [FRESH, FRESH])
    assert source._drawn.cache_info().misses == 5
    # Reading 1 s, 5 of 12 are drawn in 1 s; 60 steps and 4 looks.
    assert found == [Expected("base", 60, 1.0 + 7 * 0.2 + 64.0), Expected("adapt", 60, 65.0), EXPORT, QUALITY]


@pytest.mark.usefixtures("small")
def test_a_students_statistics_are_counted(wishes: AdaptWishes, two_volumes: Path) -> None:
    plan = planned(replace(wishes, student="s8"), two_volumes)
    (distil, *_) = foreseen(plan, [DONE, DONE, FRESH])
    # 40 steps, 4 looks, one more, and 256 crops of 32 px by a tile of 384 px a second.
    assert distil == Expected("distil", 40, 1.0 + 44.0 + 1.0 + 256 / 144)


@pytest.mark.usefixtures("small")
def test_where_only_the_export_is_left_it_is_told(wishes: AdaptWishes, two_volumes: Path) -> None:
    assert foreseen(planned(wishes, two_volumes), [DONE, DONE]) == [EXPORT, QUALITY]
