"""Numbers of a study against hand values."""

import csv
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dmn_train.study.scoring import Oracle, Score
from dmn_train.study.table import Result, row_of, summarise, to_csv

Make = Callable[..., Result]


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
    assert empty == ["fraction", *interval, "precision", *rules, "oracle_iou", "command"]


def test_an_arm_is_summarised_over_seeds_and_paired_with_the_baseline() -> None:
    arm = {0: score((6, 2, 2, 0), (6, 2, 2, 0)), 1: score((8, 1, 1, 0), (8, 1, 1, 0)), 5: score((1, 1, 0, 0))}
    base = {0: score((4, 4, 2, 0), (5, 3, 2, 0)), 1: score((5, 5, 0, 0), (5, 5, 0, 0))}
    del arm[5]
    found = summarise(arm, base)
    assert found.volume.by_seed == {0: pytest.approx(0.6), 1: pytest.approx(0.8)}
    assert found.volume.mean == pytest.approx(0.7)
    assert found.volume.sd == pytest.approx(0.2 / 2**0.5)
    assert found.slices.mean == pytest.approx(0.7)
    assert found.low_high == pytest.approx((0.7, 0.7))  # both slices of a run are alike
    assert found.difference is not None
    assert found.difference.by_seed == {0: pytest.approx(0.6 - 9 / 20), 1: pytest.approx(0.3)}
    # Slices twice the first: 0.6 - 0.4; twice the second: 0.6 - 0.5; the other seed adds 0.3.
    assert found.difference_low_high == pytest.approx((0.2, 0.25))
    assert found.oracle is None


def test_only_seeds_of_both_arms_are_paired_and_the_baseline_has_no_difference() -> None:
    arm = {0: score((6, 2, 2, 0)), 1: score((8, 1, 1, 0))}
    found = summarise(arm, {1: score((5, 5, 0, 0))})
    assert found.difference is not None
    assert (found.difference.n, found.difference.sd) == (1, None)
    assert summarise(arm, None).difference is None
    assert summarise(arm, {7: score((5, 5, 0, 0))}).difference is None


def test_an_oracle_wants_snapshots_of_every_run() -> None:
    with_snapshots = {0: score((6, 2, 2, 0), oracle=0.7), 1: score((8, 1, 1, 0), oracle=0.9)}
    found = summarise(with_snapshots, None).oracle
    assert found is not None
    assert found.mean == pytest.approx(0.8)
    assert summarise({**with_snapshots, 2: score((8, 1, 1, 0))}, None).oracle is None
