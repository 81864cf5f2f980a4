"""What other rules would have kept, from curves and scores of snapshots."""

from pathlib import Path

import numpy as np
import pytest

from dmn_runtime.errors import RunError
from dmn_train.measure import as_curves
from dmn_train.select import Measured
from dmn_train.study.rules import iou_by_rule, read_measured
from dmn_train.study.score import Score

CURVES = """step,name,value
100,loss,0.5
100,held_out_iou,0.9
100,target_solidity,0.80
100,source_solidity,0.95
100,target_entropy,0.3
200,held_out_iou,0.8
200,target_solidity,0.94
200,source_solidity,0.95
200,target_entropy,0.2
300,held_out_iou,0.7
300,target_solidity,0.99
300,source_solidity,0.95
300,target_entropy,0.1
"""


def scored(*steps: int) -> Score:
    return Score(np.zeros((1, 4), np.int64), None, None, {step: step / 1000 for step in steps})


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "curves.csv").write_text(CURVES)
    return tmp_path


def test_each_rule_takes_the_snapshot_that_it_prefers(run: Path) -> None:
    assert iou_by_rule(run, scored(100, 200, 300)) == {"held_out": 0.1, "solidity": 0.2, "entropy": 0.3}


def test_only_snapshots_that_are_there_can_be_chosen(run: Path) -> None:
    assert iou_by_rule(run, scored(200, 300)) == {"held_out": 0.2, "solidity": 0.2, "entropy": 0.3}
    assert iou_by_rule(run, scored()) == {}


def test_a_rule_that_was_not_measured_is_left_out(run: Path) -> None:
    lines = [line for line in CURVES.splitlines() if "target" not in line]
    (run / "curves.csv").write_text("\n".join(lines) + "\n")
    assert iou_by_rule(run, scored(100, 200, 300)) == {"held_out": 0.1}


def test_curves_are_read_by_step(run: Path) -> None:
    assert read_measured(run / "curves.csv")[200] == Measured(0.8, 0.94, 0.95, 0.2)


def test_curves_are_named_as_a_run_names_them(run: Path) -> None:
    names = set(as_curves(Measured(0.8, 0.94, 0.95, 0.2)))
    assert names == {line.split(",")[1] for line in CURVES.splitlines()[1:]} - {"loss"}


def test_without_snapshots_no_curves_are_read(tmp_path: Path) -> None:
    assert iou_by_rule(tmp_path, scored()) == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, r"curves\.csv cannot be read"),
        ("step,name,value\n100,loss,0.5\n100,held_out", r"curves\.csv is damaged \(line 3 is not step,name"),
        ("step,name,value\nx,held_out_iou,0.5\n", "line 2"),
        ("step,name,value\n100,held_out_iou,high\n", "line 2"),
    ],
)
def test_missing_or_damaged_curves_are_refused(tmp_path: Path, text: str | None, said: str) -> None:
    if text is not None:
        (tmp_path / "curves.csv").write_text(text)
    with pytest.raises(RunError, match=said):
        iou_by_rule(tmp_path, scored(100))
