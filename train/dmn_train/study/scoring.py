"""Runs scored on labelled test volumes, as `dmn export`, `dmn infer` and `dmn evaluate` would score them.

The same map of intensities, working grid, reflected border, rounding to 8 bits, way back to the volume's own
grid, reading of the mask and metrics; only the network runs in torch. A test holds the two to each other.
"""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dmn_runtime.errors import RecipeError, RunError, VolumeError
from dmn_runtime.evaluation import read_mask
from dmn_runtime.geometry import Region, Triple, round_up, whole
from dmn_runtime.metrics import IGNORED, average_precision, class_histograms, confusion, iou
from dmn_runtime.normalise import fit_map
from dmn_runtime.resample import inverse, to_working
from dmn_runtime.tiles import grey_threshold, scatter
from dmn_runtime.volume.open import open_volume
from dmn_train.data import cut_window
from dmn_train.domains import deployed
from dmn_train.files import write_json
from dmn_train.hardware import choose_precision
from dmn_train.networks.unet import UNet
from dmn_train.run import Run, load_run
from dmn_train.snapshots import read_snapshot, snapshot_steps
from dmn_train.stacks import Grey
from dmn_train.study.sections import TestSection

FORMAT = "dmn-study-scores"
FORMAT_VERSION = 1
THRESHOLD = 0.5
BINS = 256
MARGIN_STRIDES = 8  # a U-Net of n poolings sees less than 8 * 2**n pixels in every direction

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


class TestVolume:
    """A labelled test volume, read once when it is first asked for; may be asked from several threads."""

    __test__ = False  # the name is no test's

    def __init__(self, section: TestSection, folder: Path) -> None:
        self.section = section
        self._folder = folder
        self._lock = threading.Lock()

    @property
    def image(self) -> Grey:
        """The whole image, raw."""
        return self._read[0]

    @property
    def classes(self) -> NDArray[np.uint8]:
        """NEGATIVE, POSITIVE or IGNORED, zyx; whatever lies outside of slices and columns is IGNORED."""
        return self._read[1]

    @property
    def slices(self) -> list[int]:
        """Every z with a voxel that counts."""
        counted: list[int] = np.flatnonzero((self.classes != IGNORED).any(axis=(1, 2))).tolist()
        return counted

    @property
    def key(self) -> dict[str, Any]:
        """What a score depends on beside the weights."""
        image, mask = self.image, self._read[2]
        section = self.section.model_dump(mode="json", include={"slices", "columns"})
        return {"image": image.fingerprint, "mask": mask, "voxel_nm": list(image.voxel_nm), **section}

    @property
    def _read(self) -> tuple[Grey, NDArray[np.uint8], str]:
        with self._lock:
            return self._once

    @cached_property
    def _once(self) -> tuple[Grey, NDArray[np.uint8], str]:
        image = _whole(self._folder / self.section.image, self.section)
        with open_volume(self._folder / self.section.mask, voxel_nm=image.voxel_nm) as mask:
            if mask.shape != image.shape:
                raise VolumeError(
                    f"{mask.path} has {mask.shape} voxels (zyx) and {image.name} has {image.shape}: "
                    "name the labels of this image"
                )
            classes = read_mask(mask, "auto").classes[mask.read(whole(mask.shape))]
            counted = np.zeros(mask.shape, np.bool_)
            counted[_box(self.section, mask.shape).slices] = True
            classes[~counted] = IGNORED
            if (classes == IGNORED).all():
                raise VolumeError(
                    f"{mask.path} has no labelled voxel in the part that is tested: check the range"
                )
            return image, classes, mask.fingerprint()


def _whole(path: Path, section: TestSection) -> Grey:
    with open_volume(path, voxel_nm=section.voxel_nm) as volume:
        if volume.voxel_nm is None:
            raise RecipeError(
                f"{section.image} does not say its voxel size: add voxel_nm = [z, y, x] beside it"
            )
        return Grey(section.image, volume.read(whole(volume.shape)), volume.voxel_nm, volume.fingerprint())


def _box(section: TestSection, shape: Triple) -> Region:
    """Return the part that counts.

    Raises:
        RecipeError: it reaches over the volume's edge.
    """
    slices, columns = section.slices or (0, shape[0]), section.columns or (0, shape[2])
    for key, span, extent in (("slices", slices, shape[0]), ("columns", columns, shape[2])):
        if span[1] > extent:
            raise RecipeError(f"protocol.test.{key} is {list(span)}, but {section.image} has {extent}")
    return Region((slices[0], 0, columns[0]), (slices[1], shape[1], columns[1]))


def score_file(run_folder: Path, protocol: str) -> Path:
    """Return where the score of a run in a protocol is kept."""
    return run_folder / f"scores-{protocol}.json"


def ensure_score(run_folder: Path, protocol: str, test: TestVolume) -> Score:
    """Return the score of a finished run; compute and keep it unless it is kept already.

    A kept score counts if the weights' sha256, the volume's and the mask's fingerprint, slices, columns and
    snapshots are those it was made with.

    Raises:
        RunError: the run is missing or damaged.
        VolumeError, RecipeError: the test volume is not as it must be.
        OutputError: the score cannot be kept.
    """
    run = load_run(run_folder)
    snapshots = list(snapshot_steps(run_folder))
    key = {"weights": run.facts["weights_sha256"], "test": test.key, "snapshots": snapshots}
    path = score_file(run_folder, protocol)
    kept = _kept(path, key)
    if kept is not None:
        return kept
    score = score_run(run, test)
    write_json(path, {"format": FORMAT, "format_version": FORMAT_VERSION, "key": key, **_as_json(score)})
    return score


def score_run(run: Run, test: TestVolume) -> Score:
    """Score a run's weights and its snapshots."""
    network = run.network()
    per_slice, histogram = _counts(run, network, test)
    final = _volume_iou(per_slice)
    snapshots = {}
    for step in snapshot_steps(run.folder):
        network.load_state_dict(deployed(read_snapshot(run.folder, step)))
        with _quick():
            snapshots[step] = _volume_iou(_counts(run, network, test)[0])
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


def _counts(run: Run, network: UNet, test: TestVolume) -> tuple[Counts, Counts]:
    """Return the confusion of each slice that counts, int64 (slices, 4), and the histograms, (2, 256)."""
    foreground = np.arange(BINS) >= grey_threshold(THRESHOLD)
    per_slice, total = [], np.zeros((2, BINS), np.int64)
    for z, probability in predict(run, network, test, test.slices):
        of_slice = class_histograms(probability, test.classes[z], BINS)
        total += of_slice
        per_slice.append(confusion(of_slice, foreground))
    return np.stack(per_slice), total


@torch.inference_mode()
def predict(
    run: Run, network: UNet, test: TestVolume, slices: list[int]
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield slices on the volume's own grid: z and probability, uint8 yx, 255 = certain.

    The network is moved to a CUDA device where there is one.
    """
    image, spec = test.image, network.spec
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    table = fit_map(image.counts(), run.normalisation, image.name).table(image.voxels.dtype)
    grid = to_working(image.shape, image.voxel_nm, run.working_voxel_nm)
    grey = grid.apply(image.voxels, whole(grid.shape_in), whole(grid.shape_out))
    back, margin = inverse(grid), MARGIN_STRIDES * spec.stride_px
    _, height, width = grid.shape_out
    tall, wide = (round_up(edge + 2 * margin, spec.stride_px) for edge in (height, width))
    # The window starts a margin before the slice, on a multiple of the stride as the runtime's tiles do.
    corner = (tall // 2 - margin, wide // 2 - margin)
    for z in slices:
        window = cut_window(grey, (z, *corner), spec.context_slices, tall, wide)
        crop = torch.from_numpy(table[window])[None].to(device, memory_format=torch.channels_last)
        logits = network(crop).float().cpu().numpy()
        probability = scatter(logits, margin)[:, :height, :width]
        yield (
            z,
            back.apply(
                probability,
                Region((z, 0, 0), (z + 1, height, width)),
                Region((z, 0, 0), (z + 1, *grid.shape_in[1:])),
            )[0].astype(np.uint8, copy=False),
        )


def _as_json(score: Score) -> dict[str, Any]:
    return {
        "threshold": THRESHOLD,
        "counts": "tp, fp, fn, tn of each slice",
        "per_slice": score.per_slice.tolist(),
        "average_precision": score.average_precision,
        "oracle": None if score.oracle is None else {"step": score.oracle.step, "iou": score.oracle.iou},
        "snapshots": [[step, iou] for step, iou in score.snapshots.items()],
    }


def _kept(path: Path, key: dict[str, Any]) -> Score | None:
    """Return the score that a file keeps; None where there is none for `key`."""
    if not path.is_file():
        return None
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        if (kept["format"], kept["format_version"], kept["key"]) != (FORMAT, FORMAT_VERSION, key):
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
