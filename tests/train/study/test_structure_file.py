"""Objects and boundaries kept beside their runs."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from dmn_runtime.errors import RunError
from dmn_train.run import RUN_JSON, load_run
from dmn_train.study import predicted as predicting
from dmn_train.study import structure_file as module
from dmn_train.study.predicted import Predicted
from dmn_train.study.scored import ensure_scored
from dmn_train.study.structure import Structure
from dmn_train.study.structure_file import ensure_structure, structure_file
from dmn_train.study.test_volume import TestVolume

Volume = Callable[..., TestVolume]


def kept(run_folder: Path, test: TestVolume) -> Structure:
    return ensure_structure(Predicted(load_run(run_folder), test), "A")


@pytest.fixture
def predictions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that gets an entry whenever a run's weights predict."""
    made: list[str] = []
    real = predicting.predict

    def predict(*given: Any) -> Iterator[Any]:
        made.append("predicted")
        return real(*given)

    monkeypatch.setattr(predicting, "predict", predict)
    return made


def test_a_structure_is_that_of_the_prediction_at_the_threshold_of_the_run(
    run_folder: Path, folder: Path, volume: Volume
) -> None:
    facts = json.loads((run_folder / RUN_JSON).read_text())
    (run_folder / RUN_JSON).write_text(json.dumps(facts | {"threshold": 0.0}))
    found = kept(run_folder, volume(slices=(1, 4), columns=(64, 128)))
    mask = tifffile.imread(folder / "mask.tif")[1:4, :, 64:]
    # All is foreground: one object, one piece a slice, and no contour, since the part's edge is none.
    assert found.objects_found == 1
    assert found.components[:, 0].tolist() == [1] * 3
    assert found.contours[:, :2].tolist() == [[0, 0]] * 3
    assert (found.contours[:, 2] > 0).tolist() == mask.any(axis=(1, 2)).tolist() == [True] * 3


def test_a_structure_is_kept_until_weights_test_threshold_or_rules_change(
    run_folder: Path, volume: Volume, predictions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = kept(run_folder, volume())
    again = kept(run_folder, volume())
    assert len(predictions) == 1
    assert np.array_equal(again.matches.ious, first.matches.ious)
    assert (again.objects, again.betti0_error, again.nsd) == (first.objects, first.betti0_error, first.nsd)
    assert again.contours.tolist() == first.contours.tolist()
    kept(run_folder, volume(slices=(0, 5)))
    assert len(predictions) == 2
    facts = json.loads((run_folder / RUN_JSON).read_text())
    (run_folder / RUN_JSON).write_text(json.dumps(facts | {"threshold": 0.25}))
    kept(run_folder, volume(slices=(0, 5)))
    assert len(predictions) == 3
    monkeypatch.setattr(module, "RULES", module.RULES | {"tolerance_nm": 30.0})
    kept(run_folder, volume(slices=(0, 5)))
    assert len(predictions) == 4


def test_the_file_of_a_structure_keeps_its_form(run_folder: Path, volume: Volume) -> None:
    kept(run_folder, volume())
    file = json.loads(structure_file(run_folder, "A").read_text())
    assert list(file) == [
        *("format", "format_version", "key", "threshold", "objects", "counts", "components", "contours"),
    ]
    assert (file["format"], file["format_version"], file["threshold"]) == ("dmn-study-structure", 1, 0.5)
    assert list(file["key"]) == ["weights", "test", "rules"]
    assert list(file["key"]["test"]) == ["image", "mask", "voxel_nm", "slices", "columns"]
    assert file["key"]["rules"] == {
        "floor_voxels": 100,
        "match_iou": 0.5,
        "least_area_nm2": 2000.0,
        "tolerance_nm": 20.0,
    }


def test_a_damaged_structure_is_refused(run_folder: Path, volume: Volume) -> None:
    kept(run_folder, volume())
    path = structure_file(run_folder, "A")
    file = json.loads(path.read_text())
    del file["contours"]
    path.write_text(json.dumps(file))
    with pytest.raises(RunError, match=r"structure-A.json is damaged \(KeyError\): remove it"):
        kept(run_folder, volume())


def test_score_and_structure_are_made_of_one_prediction_and_only_where_asked(
    run_folder: Path, volume: Volume, predictions: list[str]
) -> None:
    assert ensure_scored(run_folder, "A", volume(), structures=False).structure is None
    assert len(predictions) == 1
    assert not structure_file(run_folder, "A").exists()
    scores = (run_folder / "scores-A.json").read_bytes()
    later = ensure_scored(run_folder, "A", volume(), structures=True)
    assert len(predictions) == 2  # for the structure: the score was kept
    assert (run_folder / "scores-A.json").read_bytes() == scores
    both = ensure_scored(run_folder, "B", volume(), structures=True)
    assert len(predictions) == 3
    assert later.structure is not None
    assert both.structure is not None
    assert both.structure.nsd == later.structure.nsd
