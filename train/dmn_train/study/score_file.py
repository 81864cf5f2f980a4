"""The file beside a run that keeps its score, so that nothing is predicted twice."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dmn_runtime.errors import RunError
from dmn_train.files import write_json
from dmn_train.run import load_run
from dmn_train.snapshots import snapshot_steps
from dmn_train.study.score import Oracle, Score, score_run
from dmn_train.study.test_volume import TestVolume

FORMAT = "dmn-study-scores"
FORMAT_VERSION = 1


def score_file(run_folder: Path, protocol: str) -> Path:
    """Return where the score of a run in a protocol is kept."""
    return run_folder / f"scores-{protocol}.json"


def ensure_score(
    run_folder: Path, protocol: str, test: TestVolume, check: Callable[[], None] = lambda: None
) -> Score:
    """Return the score of a finished run; compute and keep it unless it is kept already.

    A kept score counts if the weights' sha256, the volume's and the mask's fingerprint, slices, columns,
    snapshots and the run's threshold are those it was made with.

    Args:
        run_folder: of a finished run.
        protocol: name of what tests it.
        test: the protocol's test volume.
        check: called before and after every slice that is predicted; what it raises ends the scoring.

    Raises:
        RunError: the run is missing or damaged.
        VolumeError, RecipeError: the test volume is not as it must be.
        OutputError: the score cannot be kept.
    """
    run = load_run(run_folder)
    snapshots = list(snapshot_steps(run_folder))
    key = {"weights": run.facts["weights_sha256"], "test": test.key, "snapshots": snapshots}
    path = score_file(run_folder, protocol)
    kept = _kept(path, key, run.threshold)
    if kept is not None:
        return kept
    score = score_run(run, test, check)
    head = {"format": FORMAT, "format_version": FORMAT_VERSION, "key": key, "threshold": run.threshold}
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


def _kept(path: Path, key: dict[str, Any], threshold: float) -> Score | None:
    """Return the score that a file keeps; None where there is none for `key` and `threshold`."""
    if not path.is_file():
        return None
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        made = (kept["format"], kept["format_version"], kept["key"], kept["threshold"])
        if made != (FORMAT, FORMAT_VERSION, key, threshold):
            return None
        oracle = kept["oracle"]
        return Score(
            np.array(kept["per_slice"], np.int64),
            kept["average_precision"],
            None if oracle is None else Oracle(oracle["step"], oracle["iou"]),
            dict(kept["snapshots"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} is damaged ({type(error).__name__}): remove it") from error
