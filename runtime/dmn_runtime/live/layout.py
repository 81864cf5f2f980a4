"""What of a live run is decided before its first block: plan, map, ledger, depth of the output."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dmn_runtime.contract import Contract
from dmn_runtime.errors import PlanError, UsageError
from dmn_runtime.geometry import Region, Triple, round_up
from dmn_runtime.gpu.memory_plan import BatchShape
from dmn_runtime.live.begun import LIVE_INPUT, SERIES_KEY, Begun, finished_depth, series_json
from dmn_runtime.live.head import Head, folder_format
from dmn_runtime.live.schedule import OPEN_END
from dmn_runtime.machine import memory_bytes
from dmn_runtime.plan import BLOCK_SLICES, Plan
from dmn_runtime.setup import (
    Layout,
    Options,
    Setup,
    intensity_of,
    ledger_header,
    plan_of,
    refuse_intensity,
)
from dmn_runtime.sink.disk import remove, translate_os_errors
from dmn_runtime.sink.ledger import Ledger, LedgerHeader
from dmn_runtime.sink.open import Start, open_sink, resize_partial
from dmn_runtime.sink.paths import partial_path
from dmn_runtime.volume.base import Voxels
from dmn_runtime.volume.file_volume import FileVolume
from dmn_runtime.volume.source import Source

FIRST_DEPTH = 64
"""Slices of an output whose end is not known, to begin with; it grows by half whenever it is full."""
DEEPEST_KEYS = ("volume_shape", "working_shape", "output_shape")
FINISHED = (Start.COMPLETE, Start.UNREPORTED)
"""How a run goes on whose output is finished."""


@dataclass(frozen=True)
class LiveOptions:
    """What `--watch` adds to the words of `dmn infer`.

    Attributes:
        until: slices after which the run finishes its output; None goes on until it is stopped.
        first: the number of slice 0 in the files' names; None takes the smallest there is.
        poll_s: time between two looks at the folder.
        settle_s: a file is complete when it did not change for so long.
    """

    until: int | None = None
    first: int | None = None
    poll_s: float = 0.5
    settle_s: float = 2.0


def refuse_live_options(options: Options, live: LiveOptions) -> None:
    """Refuse what makes no sense in live mode.

    Raises:
        UsageError: says what.
    """
    if live.until is not None and live.until < 1:
        raise UsageError(f"--until {live.until} has no slices: give at least 1")
    if live.first is not None and live.first < 0:
        raise UsageError(f"--first {live.first} is no number of a slice: give 0 or more")
    if not 0 < live.poll_s <= 3600:
        raise UsageError(f"--poll-s {live.poll_s:g}: wanted seconds above 0, up to an hour")
    if not 0 <= live.settle_s <= 3600:
        raise UsageError(f"--settle-s {live.settle_s:g}: wanted seconds from 0 to an hour")
    refuse_intensity(options)
    if options.check_seams:
        raise UsageError("--check-seams wants the whole volume, which --watch does not have: leave one out")


def end_of(until: int | None, output: Path, start: Start) -> int | None:
    """Return how many slices the run ends with; None where that is not known.

    Raises:
        UsageError: the output is finished with another number.
    """
    if start not in FINISHED:
        return until
    depth = finished_depth(output)
    if until not in (None, depth):
        raise UsageError(
            f"{output} is finished with {depth} slices, not {until}: choose another output, or start anew "
            "with --overwrite"
        )
    return depth


def live_volume(head: Head, until: int | None) -> FileVolume:
    """Return the volume to be: its facts; its voxels come from the feed."""

    def unread(region: Region) -> Voxels:
        raise AssertionError(f"{region} of a volume that is not there yet")

    source = Source(
        format=folder_format(head.series.kind),
        shape=(until or OPEN_END, *head.model.shape),
        dtype=head.model.dtype,
        voxel_nm=None if head.model.index is None else head.model.index.voxel_nm,
        read=unread,
        files=tuple,
        close=lambda: None,
    )
    return FileVolume(head.volume.path, source, head.volume.voxel_nm)


def live_layout(
    options: Options, contract: Contract, volume: FileVolume, head: Head, begun: Begun, workers: int
) -> Layout:
    """Lay out the volume to be; its map is given, or the one it was begun with, or that of the first slices.

    Raises:
        DmnError: an option makes no sense, memory is too small, or the first slices are constant.
    """
    plan = plan_of(options, contract, volume, workers)
    # Not cut to a short volume: a resumed run may be given another end, and its blocks stay as they are.
    depth = BLOCK_SLICES if options.block is None else options.block[0]
    plan = replace(plan, block=(depth, *plan.block[1:]))
    refuse_large(plan, volume, 1)  # a GPU, which is not chosen yet, has more readers
    given = replace(options, intensity=options.intensity or begun.intensity)
    return Layout(plan, head.counts, intensity_of(given, contract, head.counts, head.volume.path))


def refuse_large(plan: Plan, volume: FileVolume, readers: int) -> None:
    """Refuse a plan whose decoded slices do not fit into memory.

    The shelf holds those of a block with its context, and so does every thread that reads one.

    Args:
        plan: of the run.
        volume: to be.
        readers: threads that read blocks at once.

    Raises:
        PlanError: names what they need and what there is.
    """
    slices = (1 + readers) * (plan.block[0] + 2 * plan.footprint.context_slices)
    needed = slices * volume.shape[1] * volume.shape[2] * volume.dtype.itemsize
    there = memory_bytes()
    if there is not None and needed > there:
        raise PlanError(
            f"{slices} decoded slices of {volume.shape[1]}x{volume.shape[2]} pixels need "
            f"{needed / 1e9:.1f} GB and this machine has {there / 1e9:.1f} GB: give thinner blocks "
            "(--block 1,Y,X)"
        )


def sampled_voxels(options: Options, begun: Begun, layout: Layout) -> int:
    """Return how many voxels the map was taken from; 0 where the user gave it."""
    if options.intensity is not None:
        return 0
    return int(layout.counts.sum()) if begun.sampled_voxels is None else begun.sampled_voxels


def live_header(
    setup: Setup, head: Head, engine: str, batch: BatchShape | None, sampled: int
) -> LedgerHeader:
    """Return what a resumed live run must share with this one: all but the number of slices."""
    header = ledger_header(setup, LIVE_INPUT, engine, batch)
    plan = dict(header.plan)
    for key in DEEPEST_KEYS:
        plan[key] = [None, *plan[key][1:]]
    extra = {
        **header.extra,
        "dtype": np.dtype(setup.volume.dtype).name,
        SERIES_KEY: series_json(head.series, sampled),
    }
    return replace(header, plan=plan, extra=extra)


def deeper(needed: int, block: Triple) -> int:
    """Return the depth of an open-ended output that is to hold `needed` slices."""
    return round_up(max(FIRST_DEPTH, needed * 3 // 2), block[0])


def fit_partial(setup: Setup, header: LedgerHeader, until: int | None) -> Setup:
    """Bring the partial output of a run that is resumed to the depth that it now needs.

    Raises:
        UsageError: `until` is less than what is segmented.
        ResumeError: the run is another one, or its partial output is damaged.
    """
    output, plan = setup.options.output, setup.plan
    ledger = Ledger.resume(output, header)
    ledger.close()
    segmented = max((made.stop for made in ledger.made.values()), default=0)
    if until is not None and until < segmented:
        raise UsageError(
            f"{segmented} slices of {output} are segmented already, more than --until {until}: give at least "
            f"--until {segmented}"
        )
    depth = deeper(segmented, plan.block) if until is None else until
    setup = with_depth(setup, depth)
    kept = any(
        index < len(plan) and made.stop == plan.block_at(index).output.stop[0]
        for index, made in ledger.made.items()
    )
    if kept:
        resize_partial(setup.spec)
    else:
        # Pyramids of a single slice differ from those of a stack; where no block stays, nothing need be kept.
        with translate_os_errors(output, resumable=True):
            remove(partial_path(output))
        open_sink(setup.spec, resume=False).close()
    return setup


def with_depth(setup: Setup, depth: int) -> Setup:
    """Return the setup with an output of `depth` slices."""
    spec = replace(setup.spec, shape=(depth, *setup.spec.shape[1:]))
    return replace(setup, spec=spec)
