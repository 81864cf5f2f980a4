"""What a run scores on a test volume, counted slice by slice as `dmn evaluate` counts."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dmn_runtime.metrics import average_precision, class_histograms, confusion, iou
from dmn_runtime.tiles import grey_threshold
from dmn_train.domains import deployed
from dmn_train.hardware import choose_precision
from dmn_train.run import Run
from dmn_train.snapshots import read_snapshot, snapshot_steps
from dmn_train.study.predict import predict
from dmn_train.study.predicted import Predicted, Slice, checked
from dmn_train.study.test_volume import TestVolume

BINS = 256

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Oracle:
    """The best of a run's weights on the test labels, which no honest selection may look at.

    Attributes:
        step: of the snapshot; None for the final weights.
        iou: foreground IoU over all counted voxels.
    """

    step: int | None
    iou: float


@dataclass(frozen=True)
class Score:
    """A run on a test volume.

    Attributes:
        per_slice: int64 (slices, 4): tp, fp, fn, tn of every slice with a counted voxel.
        average_precision: over all counted voxels; None without foreground.
        oracle: None where the run kept no snapshots.
        snapshots: foreground IoU of every snapshot by its step, for tables of what a rule would have chosen.
    """

    per_slice: Counts
    average_precision: float | None
    oracle: Oracle | None
    snapshots: Mapping[int, float] = field(default_factory=dict)


def score_run(run: Run, test: TestVolume, check: Callable[[], None] = lambda: None) -> Score:
    """Score a run's weights and its snapshots.

    Args:
        run: a finished run.
        test: what it is tested on.
        check: called before and after every slice that is predicted; what it raises ends the scoring.
    """
    return score_predicted(Predicted(run, test, check))


def score_predicted(predicted: Predicted) -> Score:
    """Score what a run's weights predicted, and the run's snapshots."""
    run, test = predicted.run, predicted.test
    per_slice, histogram = _counts(predicted.slices.items(), run, test)
    final = _volume_iou(per_slice)
    network, snapshots = run.network(), {}
    for step in snapshot_steps(run.folder):
        network.load_state_dict(deployed(read_snapshot(run.folder, step)))
        with _quick():
            found = checked(predict(run, network, test, test.slices), predicted.check)
            snapshots[step] = _volume_iou(_counts(found, run, test)[0])
    candidates = [Oracle(None, final), *(Oracle(*one) for one in snapshots.items())]
    oracle = max(candidates, key=lambda one: one.iou) if snapshots else None
    return Score(per_slice, average_precision(histogram), oracle, snapshots)


def _quick() -> AbstractContextManager[Any]:
    """Predict in bfloat16 where a CPU computes that in hardware: four times as fast, for snapshots alone.

    Their figures choose among snapshots and stand in columns of their own; a result is always float32.
    """
    wanted = not torch.cuda.is_available() and choose_precision("cpu") == "bf16-mixed"
    return torch.autocast("cpu", torch.bfloat16, enabled=wanted)


def _volume_iou(per_slice: Counts) -> float:
    return float(iou(per_slice.sum(axis=0)))


def _counts(slices: Iterable[Slice], run: Run, test: TestVolume) -> tuple[Counts, Counts]:
    """Return the confusion of each slice that counts, int64 (slices, 4), and the histograms, (2, 256)."""
    foreground = np.arange(BINS) >= grey_threshold(run.threshold)
    per_slice, total = [], np.zeros((2, BINS), np.int64)
    for z, probability in slices:
        of_slice = class_histograms(probability, test.classes[z], BINS)
        total += of_slice
        per_slice.append(confusion(of_slice, foreground))
    return np.stack(per_slice), total
