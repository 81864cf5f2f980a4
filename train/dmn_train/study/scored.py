"""All that is scored of a run in a protocol: voxels always, objects and boundaries where the study asks."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from dmn_train.run import load_run
from dmn_train.study.predicted import Predicted
from dmn_train.study.score import Score
from dmn_train.study.score_file import ensure_score
from dmn_train.study.structure import Structure
from dmn_train.study.structure_file import ensure_structure
from dmn_train.study.test_volume import TestVolume


class Scored(NamedTuple):
    """The score of a run, and its structure; None where the study does not ask for it."""

    score: Score
    structure: Structure | None


def ensure_scored(
    run_folder: Path,
    protocol: str,
    test: TestVolume,
    check: Callable[[], None] = lambda: None,
    *,
    structures: bool,
) -> Scored:
    """Return what is scored of a finished run; what is not kept beside it already is computed and kept.

    Its weights predict once at most, whatever is missing.

    Args:
        run_folder: of a finished run.
        protocol: name of what tests it.
        test: the protocol's test volume.
        check: called before and after every slice that is predicted; what it raises ends the scoring.
        structures: whether objects and boundaries are wanted.

    Raises:
        RunError: the run is missing or damaged.
        VolumeError, RecipeError: the test volume is not as it must be.
        MissingExtra: connected-components-3d is wanted and not installed.
        OutputError: a file cannot be written.
    """
    predicted = Predicted(load_run(run_folder), test, check)
    score = ensure_score(predicted, protocol)
    return Scored(score, ensure_structure(predicted, protocol) if structures else None)
