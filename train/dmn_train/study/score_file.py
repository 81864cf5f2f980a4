"""The file beside a run that keeps its score, so that nothing is predicted twice."""

from pathlib import Path
from typing import Any

import numpy as np

from dmn_train.files import write_json
from dmn_train.snapshots import snapshot_steps
from dmn_train.study.kept import read_kept
from dmn_train.study.predicted import Predicted
from dmn_train.study.score import Oracle, Score, score_predicted

FORMAT = "dmn-study-scores"
FORMAT_VERSION = 1


def score_file(run_folder: Path, protocol: str) -> Path:
    """Return where the score of a run in a protocol is kept."""
    return run_folder / f"scores-{protocol}.json"


def ensure_score(predicted: Predicted, protocol: str) -> Score:
    """Return the score of a finished run; compute and keep it unless it is kept already.

    A kept score counts if the weights' sha256, the volume's and the mask's fingerprint, slices, columns,
    snapshots and the run's threshold are those it was made with.

    Args:
        predicted: of the run on the protocol's test volume; made only if it is needed.
        protocol: name of what tests it.

    Raises:
        RunError: the run is missing or damaged.
        VolumeError, RecipeError: the test volume is not as it must be.
        OutputError: the score cannot be kept.
    """
    run = predicted.run
    snapshots = list(snapshot_steps(run.folder))
    key = {"weights": run.facts["weights_sha256"], "test": predicted.test.key, "snapshots": snapshots}
    head = {"format": FORMAT, "format_version": FORMAT_VERSION, "key": key, "threshold": run.threshold}
    path = score_file(run.folder, protocol)
    kept = read_kept(path, head, _parse)
    if kept is not None:
        return kept
    score = score_predicted(predicted)
    write_json(path, head | _as_json(score))
    return score


def _as_json(score: Score) -> dict[str, Any]:
    return {
        "counts": "tp, fp, fn, tn of each slice",
        "per_slice": score.per_slice.tolist(),
        "average_precision": score.average_precision,
        "oracle": None if score.oracle is None else {"step": score.oracle.step, "iou": score.oracle.iou},
        "snapshots": [[step, iou] for step, iou in score.snapshots.items()],
    }


def _parse(kept: dict[str, Any]) -> Score:
    oracle = kept["oracle"]
    return Score(
        np.array(kept["per_slice"], np.int64),
        kept["average_precision"],
        None if oracle is None else Oracle(oracle["step"], oracle["iou"]),
        dict(kept["snapshots"]),
    )
