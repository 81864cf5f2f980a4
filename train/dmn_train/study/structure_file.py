"""The file beside a run that keeps its objects, pieces and contours, so that nothing is predicted twice."""

from pathlib import Path
from typing import Any

import numpy as np

from dmn_runtime.metrics import IGNORED, POSITIVE
from dmn_runtime.objects import Matches
from dmn_train.files import write_json
from dmn_train.study.kept import read_kept
from dmn_train.study.predicted import Predicted
from dmn_train.study.structure import RULES, Structure, structure_of

FORMAT = "dmn-study-structure"
FORMAT_VERSION = 1


def structure_file(run_folder: Path, protocol: str) -> Path:
    """Return where the structure of a run in a protocol is kept."""
    return run_folder / f"structure-{protocol}.json"


def ensure_structure(predicted: Predicted, protocol: str) -> Structure:
    """Return the structure of what a finished run predicts; compute and keep it unless it is kept already.

    A kept one counts if the weights' sha256, the volume's and the mask's fingerprint, voxel size, slices,
    columns, the run's threshold and the rules of the metrics are those it was made with.

    Args:
        predicted: of the run on the protocol's test volume; made only if it is needed.
        protocol: name of what tests it.

    Raises:
        RunError: the run is missing or damaged.
        VolumeError, RecipeError: the test volume is not as it must be.
        MissingExtra: connected-components-3d is not installed.
        OutputError: the structure cannot be kept.
    """
    run, test = predicted.run, predicted.test
    key = {"weights": run.facts["weights_sha256"], "test": test.key, "rules": RULES}
    head = {"format": FORMAT, "format_version": FORMAT_VERSION, "key": key, "threshold": run.threshold}
    path = structure_file(run.folder, protocol)
    kept = read_kept(path, head, _parse)
    if kept is not None:
        return kept
    truth, counted = test.classes == POSITIVE, test.classes != IGNORED
    structure = structure_of(predicted.mask, truth, counted, test.image.voxel_nm)
    write_json(path, head | _as_json(structure))
    return structure


def _as_json(structure: Structure) -> dict[str, Any]:
    matches = structure.matches
    return {
        "objects": {
            "ious": matches.ious.tolist(),
            "false_positives": matches.false_positives,
            "false_negatives": matches.false_negatives,
        },
        "counts": "each slice: components found, true; contour px found, of them close, true, of them close",
        "components": structure.components.tolist(),
        "contours": structure.contours.tolist(),
    }


def _parse(kept: dict[str, Any]) -> Structure:
    objects = kept["objects"]
    return Structure(
        Matches(
            np.array(objects["ious"], np.float64), objects["false_positives"], objects["false_negatives"]
        ),
        np.array(kept["components"], np.int64),
        np.array(kept["contours"], np.int64),
    )
