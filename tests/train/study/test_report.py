"""The report from results made by hand: nothing is trained."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from dmn_train.select import Rule
from dmn_train.study.collect import Collection
from dmn_train.study.figures import bars, draw_bars, draw_fractions
from dmn_train.study.markdown import to_markdown
from dmn_train.study.placed import PlacedStudy
from dmn_train.study.places import Places
from dmn_train.study.result import Result
from dmn_train.study.score import Oracle, Score
from dmn_train.study.tables import curves, protocol_tables

from .conftest import OTHER_SOURCE, STUDENT, STUDY

Load = Callable[..., PlacedStudy]
PLACES = Places("studies/tiny.toml", "runs/tiny", "docs/results")
FACTS: dict[str, Any] = {
    "steps": 6,
    "wall_s": 61.4,
    "device_name": "a CPU",
    "weights_sha256": "0123456789abcdef",
}


def result(protocol: str, arm: str, seed: int, hits: int, *, fraction: float | None = None) -> Result:
    """Two like slices of 100 foreground voxels, `hits` of which are found: the IoU is hits / 100."""
    score = Score(np.array([[hits, 0, 100 - hits, 900]] * 2), 0.5, Oracle(4, hits / 100 + 0.01))
    run = f"{protocol}/{arm}/seed{seed}"
    rules: dict[Rule, float] = {"solidity": hits / 100 - 0.05} if arm == "other" else {}
    return Result(protocol, arm, fraction, seed, score, rules, FACTS, run, Path(run), f"dmn train {run}.toml")


@pytest.fixture
def collection() -> Collection:
    results = (
        *(result("A", "strong", 0, 40), result("A", "strong", 1, 50), result("A", "other", 1, 70)),
        *(result("B", "strong", 0, 30), result("B", "strong", 0, 60, fraction=0.5)),
    )
    return Collection(results, 4, 14, frozenset({"A"}))


def written(placed: PlacedStudy, collection: Collection) -> str:
    tables, fine = protocol_tables(placed.study, collection), curves(placed.study, collection)
    return to_markdown(placed, collection, tables, fine, {"bars": "tiny-bars.png"}, PLACES)


def test_tables_hold_mean_spread_difference_oracle_and_published(study: Load, collection: Collection) -> None:
    lines = written(study(), collection).splitlines()
    assert lines[0] == "# A tiny study"
    assert "4 of 14 planned runs are finished. One line a run: [tiny.csv](tiny.csv)." in lines
    at = lines.index("## A (transductive): all slices")
    assert lines[at + 2] == (
        "| method | fg IoU | 95 % | mean of slices | minus `strong` | 95 % | seeds 0, 1 "
        "| by held_out | by solidity | by entropy | oracle (not allowed) | published |"
    )
    assert lines[at + 4] == (
        "| source only | 0.450 ± 0.071 (2) | 0.450 to 0.450 | 0.450 | - | - | 0.400, 0.500 "
        "| - | - | - | 0.460 ± 0.071 (2) | - |"
    )
    assert lines[at + 5] == (
        "| something else | 0.700 (1) | 0.700 to 0.700 | 0.700 | +0.200 (1) | +0.200 to +0.200 | -, 0.700 "
        "| - | 0.650 (1) | - | 0.710 (1) | 0.500 |"
    )
    assert "Published: Somebody, elsewhere." in lines


def test_the_protocols_stand_side_by_side_first(study: Load, collection: Collection) -> None:
    lines = written(study(), collection).splitlines()
    at = lines.index("## At a glance")
    assert at < lines.index("## A (transductive): all slices")
    assert lines[at + 2 : at + 7] == [
        "| fg IoU | A | B |",
        "| --- | --- | --- |",
        "| source only | 0.450 ± 0.071 (2) | 0.300 (1) |",
        "| something else | 0.700 (1) | - |",
        "",
    ]


def test_a_second_arm_stands_beside_the_baseline(study: Load, collection: Collection) -> None:
    placed = study(('baseline = "strong"', 'baseline = "strong"\nbeside = "other"'))
    lines = written(placed, collection).splitlines()
    at = lines.index("## A (transductive): all slices")
    assert lines[at + 2].startswith(
        "| method | fg IoU | 95 % | mean of slices "
        "| minus `strong` | 95 % | minus `other` | 95 % | seeds 0, 1 |"
    )
    assert lines[at + 4].startswith(
        "| source only | 0.450 ± 0.071 (2) | 0.450 to 0.450 | 0.450 "
        "| - | - | -0.200 (1) | -0.200 to -0.200 | 0.400, 0.500 |"
    )
    assert lines[at + 5].startswith(
        "| something else | 0.700 (1) | 0.700 to 0.700 | 0.700 "
        "| +0.200 (1) | +0.200 to +0.200 | - | - | -, 0.700 |"
    )
    at = lines.index("## B (inductive)")
    assert lines[at + 5] == f"| something else |{' - |' * 7} -, - |{' - |' * 5}"
    assert "Difference: to `strong` and to `other`, seed by seed" in "\n".join(lines)


def test_what_is_missing_is_a_dash(study: Load, collection: Collection) -> None:
    lines = written(study(), collection).splitlines()
    at = lines.index("## B (inductive)")
    assert lines[at + 5] == "| something else | - | - | - | - | - | -, - | - | - | - | - | - |"
    empty = written(study(), Collection((), 0, 14))
    assert "0 of 14 planned runs are finished." in empty


def test_fine_tuning_stands_by_fraction_and_arm(study: Load, collection: Collection) -> None:
    lines = written(study(), collection).splitlines()
    at = lines.index("| share | source only | something else |")
    assert lines[at + 2 : at + 5] == [
        "| 0 | 0.300 (1) | - |",
        "| 0.5 | 0.600 (1) | - |",
        "| 1 | - | - |",
    ]


def test_a_reader_sees_the_commands_and_the_keys(study: Load, collection: Collection) -> None:
    text = written(study(), collection)
    assert "| run | command | steps | seconds of the last stretch | device |" in text
    assert "dmn study studies/tiny.toml -o runs/tiny --report-to docs/results --report-only" in text
    assert "| A/other/seed1 | `dmn train A/other/seed1.toml` | 6 | 61 | a CPU | `0123456789ab` |" in text
    assert "# arm other, starts from strong\n[method]\nhistogram_matching = 0.5\n" in text
    assert text.endswith("What is left open.\n")
    assert str(study().folder) not in text


def test_a_reader_sees_the_keys_of_sources_and_who_teaches(study: Load, collection: Collection) -> None:
    text = written(study(text=STUDY + OTHER_SOURCE + STUDENT), collection)
    assert '# arm student, taught by other\n[method]\nname = "distil"\n' in text
    assert "# source vnc\n[loop]\nsteps = 3\nbatch = 2\n" in text
    assert "# protocol back, source vnc\n" in text


def test_figures_are_small_and_the_same_bytes_each_time(
    study: Load, collection: Collection, tmp_path: Path
) -> None:
    placed = study().study
    tables, fine = protocol_tables(placed, collection), curves(placed, collection)
    for draw in (
        lambda path: draw_bars(tables, placed.baseline, path),
        lambda path: draw_fractions(fine, path),
    ):
        draw(tmp_path / "once.png")
        draw(tmp_path / "again.png")
        first = (tmp_path / "once.png").read_bytes()
        assert first == (tmp_path / "again.png").read_bytes()
        assert 2_000 < len(first) < 200_000


@pytest.mark.parametrize("panels", [1, 2])
def test_what_the_bars_mean_is_told_within_the_figure(
    study: Load, collection: Collection, panels: int
) -> None:
    placed = study().study
    tables = protocol_tables(placed, collection)
    drawn = bars((tables * panels)[:panels], placed.baseline)
    canvas = FigureCanvasAgg(drawn)
    canvas.draw()
    (legend,) = drawn.legends
    told = legend.get_window_extent(canvas.get_renderer())
    assert told.x0 >= 0
    assert told.y0 >= 0
    assert told.x1 <= drawn.bbox.x1
    assert told.y1 <= drawn.axes[0].get_window_extent().y0
