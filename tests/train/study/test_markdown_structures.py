"""The table of objects and boundaries from results made by hand."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from dmn_runtime.objects import Matches
from dmn_train.study.collect import Collection
from dmn_train.study.markdown import to_markdown
from dmn_train.study.markdown_structures import objects_and_boundaries
from dmn_train.study.placed import PlacedStudy
from dmn_train.study.places import Places
from dmn_train.study.result import Result
from dmn_train.study.score import Score
from dmn_train.study.structure import Structure
from dmn_train.study.tables import curves, protocol_tables

Load = Callable[..., PlacedStudy]
FACTS = {"steps": 6, "wall_s": 61.4, "device_name": "a CPU", "weights_sha256": "0123456789abcdef"}


def result(arm: str, seed: int, ious: list[float], *, close: int = 0, contours: int = 10) -> Result:
    """Four true objects, as many found as there are `ious` and one more; `close` of `contours` px."""
    structure = Structure(
        Matches(np.array(ious, np.float64), 1, 4 - len(ious)),
        np.array([[3, 5], [4, 4]]),
        np.array([[contours, close, contours, close]] * 2),
    )
    score = Score(np.array([[40, 0, 60, 900]] * 2), 0.5, None)
    run = f"A/{arm}/seed{seed}"
    return Result("A", arm, None, seed, score, {}, FACTS, run, Path(run), "", structure)


RESULTS = (
    result("strong", 0, [0.75], close=4),
    result("strong", 1, [0.625, 0.875], close=6),
    result("other", 1, [0.75, 0.75, 0.75], close=9),
)
HEAD = (
    "| method | PQ | minus `strong` | RQ | SQ | objects found (4 true) | Betti-0 error "
    "| NSD | minus `strong` |"
)


def section(placed: PlacedStudy, *results: Result) -> list[str]:
    study = placed.study
    text = objects_and_boundaries(study.protocol_named("A"), study, Collection(results, len(results), 4))
    return text.splitlines()


def test_the_table_holds_mean_spread_and_difference_to_the_baseline(study: Load) -> None:
    lines = section(study(), *RESULTS)
    assert lines[0] == "### Objects and boundaries"
    at = lines.index(HEAD)
    # PQ: 0.75 / 3 and 1.5 / 3.5; RQ: 1 / 3 and 2 / 3.5; SQ 0.75 twice; found 2 and 3; NSD 0.4 and 0.6.
    assert lines[at + 2] == (
        "| source only | 0.339 ± 0.126 (2) | - | 0.452 ± 0.168 (2) | 0.750 ± 0.000 (2) "
        "| 2.5 ± 0.7 (2) | 1.00 ± 0.00 (2) | 0.500 ± 0.141 (2) | - |"
    )
    # PQ 2.25 / 4 less 1.5 / 3.5 of the same seed.
    assert lines[at + 3] == (
        "| something else | 0.562 (1) | +0.134 (1) | 0.750 (1) | 0.750 (1) "
        "| 4.0 (1) | 1.00 (1) | 0.900 (1) | +0.300 (1) |"
    )
    assert len(lines) == at + 4


def test_what_is_undefined_or_missing_is_a_dash(study: Load) -> None:
    lines = section(study(), result("strong", 0, [], contours=0), RESULTS[1])
    at = lines.index(HEAD)
    assert lines[at + 2].split(" | ")[4] == "0.750 (1)"  # SQ of the seed that has a match
    assert lines[at + 2].split(" | ")[7] == "0.600 (1)"
    assert lines[at + 3] == f"| something else |{' - |' * 8}"


def test_a_study_that_asks_for_no_structures_has_no_such_table(study: Load) -> None:
    placed = study()
    without = tuple(replace(one, structure=None) for one in RESULTS)
    assert section(placed, *without) == []
    for results, there in ((RESULTS, True), (without, False)):
        collection = Collection(results, 3, 4)
        tables, fine = protocol_tables(placed.study, collection), curves(placed.study, collection)
        text = to_markdown(placed, collection, tables, fine, {}, Places("tiny.toml", "runs", "docs"))
        assert ("### Objects and boundaries" in text) is there
        assert text.count("## B (inductive)") == 1
        if there:
            assert text.index("## A ") < text.index("### Objects and boundaries") < text.index("## B ")
