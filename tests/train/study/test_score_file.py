"""Scores kept beside their runs."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from dmn_runtime.errors import RunError
from dmn_train.run import RUN_JSON, load_run
from dmn_train.study import score_file as module
from dmn_train.study.predicted import Predicted
from dmn_train.study.score import Score
from dmn_train.study.score_file import ensure_score, score_file
from dmn_train.study.test_volume import TestVolume

Volume = Callable[..., TestVolume]


def kept_score(run_folder: Path, test: TestVolume) -> Score:
    return ensure_score(Predicted(load_run(run_folder), test), "A")


def test_a_score_is_kept_until_weights_or_test_change(
    run_folder: Path, folder: Path, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = kept_score(run_folder, volume())
    assert first.oracle is None
    made: list[str] = []
    real = module.score_predicted
    monkeypatch.setattr(module, "score_predicted", lambda *given: made.append("again") or real(*given))
    kept = kept_score(run_folder, volume())
    assert np.array_equal(kept.per_slice, first.per_slice)
    assert kept.average_precision == first.average_precision
    assert made == []
    kept_score(run_folder, volume(slices=(0, 5)))
    assert made == ["again"]
    image = tifffile.imread(folder / "image.tif")
    image[0, 0, 0] ^= 1
    tifffile.imwrite(folder / "image.tif", image)
    kept_score(run_folder, volume(slices=(0, 5)))
    assert made == ["again"] * 2
    facts = json.loads((run_folder / RUN_JSON).read_text())
    (run_folder / RUN_JSON).write_text(json.dumps(facts | {"threshold": 0.25}))
    kept_score(run_folder, volume(slices=(0, 5)))
    assert made == ["again"] * 3
    assert json.loads(score_file(run_folder, "A").read_text())["threshold"] == 0.25


def test_the_file_of_a_score_keeps_its_form(run_folder: Path, volume: Volume) -> None:
    kept_score(run_folder, volume())
    kept = json.loads(score_file(run_folder, "A").read_text())
    assert list(kept) == [
        *("format", "format_version", "key", "threshold", "counts", "per_slice"),
        *("average_precision", "oracle", "snapshots"),
    ]
    assert (kept["format"], kept["format_version"], kept["threshold"]) == ("dmn-study-scores", 1, 0.5)
    assert list(kept["key"]) == ["weights", "test", "snapshots"]
    assert list(kept["key"]["test"]) == ["image", "mask", "voxel_nm", "slices", "columns"]


def test_a_damaged_score_is_refused(run_folder: Path, folder: Path, volume: Volume) -> None:
    kept_score(run_folder, volume())
    kept = json.loads(score_file(run_folder, "A").read_text())
    del kept["per_slice"]
    score_file(run_folder, "A").write_text(json.dumps(kept))
    with pytest.raises(RunError, match=r"scores-A.json is damaged \(KeyError\): remove it"):
        kept_score(run_folder, volume())
