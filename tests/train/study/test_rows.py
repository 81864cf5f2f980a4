"""Rows of the CSV against hand values."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest

from dmn_runtime.objects import Matches
from dmn_train.study.result import Result
from dmn_train.study.rows import row_of, to_csv
from dmn_train.study.score import Oracle, Score
from dmn_train.study.structure import Structure


def score(*slices: tuple[int, int, int, int], oracle: float | None = None) -> Score:
    return Score(np.array(slices, np.int64), 0.5, None if oracle is None else Oracle(4, oracle))


def test_a_row_holds_the_scores_of_all_voxels_and_of_slices() -> None:
    facts = {"steps": 6, "wall_s": 12.34567, "device_name": "a CPU", "weights_sha256": "ab"}
    counts = score((6, 2, 2, 10), (1, 1, 2, 16), oracle=0.75)
    result = Result(
        "A", "mmd", 0.05, 2, counts, {"solidity": 0.4}, facts, "A/mmd/seed2", Path("x"), "dmn train, so"
    )
    row = row_of(result)
    # tp 7, fp 3, fn 4
    assert row.fg_iou == pytest.approx(7 / 14)
    assert row.dice == pytest.approx(14 / 21)
    assert row.precision == pytest.approx(7 / 10)
    assert row.recall == pytest.approx(7 / 11)
    assert row.slice_iou_mean == pytest.approx((0.6 + 0.25) / 2)
    assert row.slice_iou_sd == pytest.approx(0.35 / 2**0.5)
    # Of the resamples of two slices, a quarter is the first one twice and a quarter the second one.
    assert (row.iou_low, row.iou_high) == (0.25, pytest.approx(0.6))
    (read,) = csv.DictReader(io.StringIO(to_csv([row])))
    assert read["fg_iou"] == "0.5"
    assert read["dice"] == "0.6667"
    assert read["fraction"] == "0.05"
    assert read["wall_s"] == "12.3457"
    assert read["solidity_rule_iou"] == "0.4"
    assert read["oracle_iou"] == "0.75"
    assert read["command"] == "dmn train, so"
    assert read["n_slices"] == "2"


def test_undefined_numbers_are_empty_cells() -> None:
    facts = {"steps": 6, "wall_s": 1.0, "device_name": "a CPU", "weights_sha256": "ab"}
    result = Result("A", "mmd", None, 0, score((0, 0, 3, 10)), {}, facts, "A/mmd/seed0", Path("x"), "")
    (read,) = csv.DictReader(io.StringIO(to_csv([row_of(result)])))
    empty = [name for name, cell in read.items() if cell == ""]
    rules = ["held_out_rule_iou", "solidity_rule_iou", "entropy_rule_iou"]
    interval = ["iou_low", "iou_high", "slice_iou_sd"]
    objects = ["pq", "rq", "sq", "objects_found", "objects_true", "betti0_error", "nsd"]
    assert empty == ["fraction", *interval, "precision", *rules, "oracle_iou", *objects, "command"]


def test_objects_and_boundaries_have_columns_of_their_own() -> None:
    facts = {"steps": 6, "wall_s": 1.0, "device_name": "a CPU", "weights_sha256": "ab"}
    structure = Structure(
        Matches(np.array([0.75]), false_positives=3, false_negatives=1),
        np.array([[4, 1], [2, 3]]),
        np.array([[10, 5, 10, 10], [0, 0, 10, 0]]),
    )
    of_run = score((1, 0, 0, 1)), {}, facts, "A/mmd/seed0", Path("x"), ""
    (read,) = csv.DictReader(io.StringIO(to_csv([row_of(Result("A", "mmd", None, 0, *of_run, structure))])))
    found = {name: read[name] for name in ("pq", "rq", "sq", "objects_found", "objects_true")}
    assert found == {"pq": "0.25", "rq": "0.3333", "sq": "0.75", "objects_found": "4", "objects_true": "2"}
    assert (read["betti0_error"], read["nsd"]) == ("2", "0.375")
