"""What the stream of a live run is fed: blocks whose slices are there, for as long as there are any."""

import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from dmn_runtime.errors import VolumeError
from dmn_runtime.geometry import Region
from dmn_runtime.live.arrivals import Arrivals, Stamp, stamp_of
from dmn_runtime.live.lag import LagCounter, Progress
from dmn_runtime.live.looks import ListFolder, Looks
from dmn_runtime.live.schedule import (
    Look,
    Segment,
    is_done,
    next_step,
    slab_extent,
    slab_planes,
    slabs_reading,
)
from dmn_runtime.live.series import Series, is_slice_name
from dmn_runtime.live.shelf import Shelf
from dmn_runtime.live.whole import require_whole
from dmn_runtime.plan import Block, Plan
from dmn_runtime.sink.ledger import Ledger, Made, SliceNote
from dmn_runtime.volume.base import Voxels
from dmn_runtime.volume.slices import SliceFile, inspect_slice, read_slice

RETRY_S = 10.0
"""A slice that could not be read is tried again after this time even if it did not change, as clocks lie."""
SLICES = 2
"""Slices are inspected as one of several: a lone one would be taken to be as thick as its pixels are high."""


@dataclass(frozen=True)
class Place:
    """The folder that is watched and how it is looked at.

    Attributes:
        folder: of the slices.
        series: which file is which slice.
        model: a slice that all others must be like.
        poll_s: time between two looks.
        list_folder: gives the files of the folder.
        now: seconds of a clock that does not go back.
    """

    folder: Path
    series: Series
    model: SliceFile
    poll_s: float
    list_folder: ListFolder
    now: Callable[[], float]


@dataclass(frozen=True)
class _Wrong:
    stamp: Stamp
    sentence: str
    retry_s: float


@final
class Feed:
    """The state of a live run, and the iterator of the blocks that are to be segmented next.

    The iterator ends when nothing can be done now, or when the next block lies deeper than the sink
    (`wanted_depth`); it can be asked again. It looks at the folder itself when that is due, so that a long
    backlog does not make it blind. Its decisions are `schedule.next_step`'s. Safe in several threads.

    Attributes:
        shelf: the decoded slices in memory.
        lag: counts for the lag meter.
        wanted_depth: the depth that the sink must have before the run can go on.
    """

    def __init__(
        self,
        place: Place,
        plan: Plan,
        arrivals: Arrivals,
        ledger: Ledger,
        until: int | None,
        say: Callable[[str], None],
    ) -> None:
        """Feed the blocks of `plan`, which is `OPEN_END` deep where `until` (slices) is None."""
        self.shelf = Shelf(plan.block[0] + 2 * plan.footprint.context_slices)
        self.lag = LagCounter()
        self.wanted_depth = 0
        self._place = place
        self._plan = plan
        self._arrivals = arrivals
        self._ledger = ledger
        self._until = until
        self._say = say
        self._looks = Looks(place.folder, place.list_folder, place.now, say)
        self._depth = 0
        self._names: dict[int, tuple[str, Stamp]] = {}
        self._slices: dict[int, int | None] = {}
        self._used = dict(ledger.slices)
        self._stamps = {index: made.stamp for index, made in ledger.made.items()}
        self._recorded = set(ledger.done)
        self._open: set[int] = set()
        self._done: set[int] = set()
        self._busy: dict[int, Segment] = {}
        self._pinned: dict[int, dict[int, Voxels]] = {}
        self._wrong: dict[int, _Wrong] = {}
        self._told: set[str] = set()
        self._polled_s: float | None = None
        self._heard: set[str] | None = None  # files that were there at the start, or have been counted
        self._lock = threading.RLock()

    def __iter__(self) -> "Feed":
        return self

    def __next__(self) -> int:
        """Return the next block that is to be segmented."""
        with self._lock:
            self.poll(only_if_due=True)
            while True:
                step = next_step(self._plan, sorted(self._open), self._slices, self._stamps, self._busy)
                if isinstance(step, Look):
                    self._look(step.z)
                elif step is None:
                    raise StopIteration
                elif self._begin(step):
                    return step.index

    def sink_is_deep(self, depth: int) -> None:
        """Hear how many slices the sink can take."""
        self._depth = depth

    def poll(self, *, only_if_due: bool = False) -> None:
        """Look at the folder.

        Raises:
            VolumeError: it has been out of sight for too long.
        """
        with self._lock:
            now_s = self._place.now()
            if only_if_due and self._polled_s is not None and now_s - self._polled_s < self._place.poll_s:
                return
            self._polled_s = now_s
            listing = self._looks.look()
            if listing is None:
                return
            if self._heard is None:  # what came to rest while the run waited for its first slices
                self._heard = set(listing)
                for name, stamp in self._arrivals.standing().items():
                    self._arrive(name, stamp, now_s, backlog=True)
            changes = self._arrivals.observe(listing, now_s)
            for name in changes.lost:
                self._lose(name, now_s)
            for name, stamp in changes.settled.items():
                self._arrive(name, stamp, now_s, backlog=name in self._heard)
                self._heard.add(name)
            for z, wrong in self._wrong.items():
                if z in self._names and z not in self._slices and now_s >= wrong.retry_s:
                    self._slices[z] = None
            self._settle(self._open, now_s, worked=False)

    def read(self, block: Block, region: Region) -> Voxels:
        """Return voxels, zyx, of the slices that were there when `block` was handed out."""
        with self._lock:
            pinned = self._pinned[block.index]
        out: Voxels = np.empty(region.shape, self._place.model.dtype)
        for target, z in zip(out, range(region.start[0], region.stop[0]), strict=True):
            target[...] = pinned[z][region.slices[1:]]
        return out

    def has_read(self, block: Block) -> None:
        """Let go of the slices of a block that has been read."""
        with self._lock:
            del self._pinned[block.index]

    def record(self, block: Block, crc: int) -> None:
        """Take in that a block was written: here, and in the ledger."""
        with self._lock:
            segment = self._busy[block.index]
        self._ledger.record(block.index, crc, Made(segment.stamp, block.output.stop[0]))
        with self._lock:
            del self._busy[block.index]
            self._stamps[block.index] = segment.stamp
            self._recorded.add(block.index)
            slab = block.output.start[0] // self._plan.block[0]
            self._settle({slab}, self._place.now(), worked=True)

    def drained(self) -> None:
        """Hear that the stream has ended: blocks that it had begun and not written are to be done again."""
        with self._lock:
            self._busy.clear()
            self._pinned.clear()

    def is_finished(self) -> bool:
        """Tell whether every block up to `until` is up to date."""
        with self._lock:
            return self._until is not None and len(self._done) == self._plan.counts[0]

    def paths(self) -> list[Path]:
        """Return the files of all slices in order; call it where `is_finished`."""
        with self._lock:
            return [self._place.folder / self._names[z][0] for z in sorted(self._names)]

    def progress(self) -> Progress:
        """Return where the run stands."""
        with self._lock:
            last = self._plan.counts[0] - 1
            beyond = self._plan.counts[0] * self._plan.block[0] - self._plan.output_shape[0]
            segmented = len(self._done) * self._plan.block[0] - (beyond if last in self._done else 0)
            _, height, width = self._plan.forward.shape_in
            return Progress(
                len(self._slices),
                segmented,
                self.lag.lag_s,
                self.lag.acquired_per_s(),
                self.lag.segmented_per_s(self._place.now()),
                height * width,
                self._until,
                self._waits_for(),
            )

    def _extent(self, slab: int) -> tuple[int, int]:
        return slab_extent(self._plan, slab)

    def _index(self, name: str) -> int | None:
        z = self._place.series.index(name)
        return z if z is not None and z < self._plan.output_shape[0] else None

    def _arrive(self, name: str, stamp: Stamp, now_s: float, *, backlog: bool) -> None:
        z = self._index(name)
        if z is None:
            self._tell_stranger(name)
            return
        known = self._names.get(z)
        if known is not None and known[0] != name:
            self._tell(
                f"{name} and {known[0]} have the same number, so {name} is left aside: remove one of them"
            )
            return
        used = self._used.get(z)
        same = used is not None and (used.name, used.size, used.mtime_ns) == (
            name,
            stamp.size,
            stamp.mtime_ns,
        )
        self._names[z] = (name, stamp)
        self._slices[z] = used.crc32 if used is not None and same else None
        self._wrong.pop(z, None)
        self.lag.arrived(z, now_s, backlog=backlog)
        self._reopen(z)

    def _tell_stranger(self, name: str) -> None:
        if self._place.series.index(name) is None and is_slice_name(name):
            self._tell(
                f"{name} is left aside: it is not named like the other slices, or lies before the first one"
            )

    def _tell(self, sentence: str) -> None:
        if sentence not in self._told:
            self._told.add(sentence)
            self._say(f"warning: {sentence}")

    def _lose(self, name: str, now_s: float) -> None:
        z = self._index(name)
        if z is None or self._names.get(z, ("",))[0] != name:
            return
        del self._names[z]
        self._forget(z)
        self._wrong.pop(z, None)
        self._reopen(z)
        for other, stamp in self._arrivals.standing().items():
            if self._index(other) == z:  # one that was left aside because of this one
                self._arrive(other, stamp, now_s, backlog=False)
                return

    def _forget(self, z: int) -> None:
        self._slices.pop(z, None)
        self.shelf.drop(z)

    def _reopen(self, z: int) -> None:
        slabs = set(slabs_reading(self._plan, z))
        self._done -= slabs
        self._open |= slabs

    def _settle(self, slabs: set[int], now_s: float, *, worked: bool) -> None:
        """Move those of `slabs` that are up to date from open to done; `worked`: by this run."""
        for slab in [s for s in slabs if is_done(self._plan, s, self._slices, self._stamps)]:
            self._open.discard(slab)
            self._done.add(slab)
            for z in range(*self._extent(slab)):
                self.lag.finished(z, now_s, worked=worked)

    def _look(self, z: int) -> None:
        """Decode a slice; it is known by its content from here on, or it is wrong."""
        name, stamp = self._names[z]
        try:
            pixels = self._unchanged(self._place.folder / name, stamp)
        except VolumeError as error:
            self._is_wrong(z, stamp, str(error))
            return
        if pixels is None:
            self._unsettle(z, name)
        else:
            self._know(z, pixels)

    def _unchanged(self, path: Path, stamp: Stamp) -> Voxels | None:
        """Decode a file of the version `stamp`; None where it is, or meanwhile becomes, another or none.

        Raises:
            VolumeError: it is wrong. One that changed while it was decoded is not: it is being written.
        """
        if stamp_of(path) != stamp:
            return None
        try:
            pixels = self._decoded(path)
        except VolumeError:
            if stamp_of(path) != stamp:
                return None
            raise
        return pixels if stamp_of(path) == stamp else None

    def _unsettle(self, z: int, name: str) -> None:
        self._arrivals.forget(name)
        del self._names[z]
        self._forget(z)
        self._reopen(z)

    def _decoded(self, path: Path) -> Voxels:
        model = self._place.model
        one = inspect_slice(path, model.kind, SLICES)
        if (one.shape, one.dtype) != (model.shape, model.dtype):
            raise VolumeError(
                f"{path} is {one.shape[0]}x{one.shape[1]} {one.dtype.name}, but slices of "
                f"{model.shape[0]}x{model.shape[1]} {model.dtype.name} are wanted: write it again"
            )
        require_whole(path, model.kind)
        return read_slice(one)

    def _is_wrong(self, z: int, stamp: Stamp, sentence: str) -> None:
        known = self._wrong.get(z)
        if known is None or known.sentence != sentence:
            self._say(f"warning: {sentence}; the run waits for it")
        self._wrong[z] = _Wrong(stamp, sentence, self._place.now() + RETRY_S)
        self._forget(z)
        self._reopen(z)

    def _know(self, z: int, pixels: Voxels) -> None:
        name, stamp = self._names[z]
        crc = zlib.crc32(pixels.data)
        self._wrong.pop(z, None)
        self._slices[z] = crc
        self.shelf.put(z, pixels)
        version = SliceNote(name, stamp.size, stamp.mtime_ns, crc)
        if self._used.get(z) != version:
            self._used[z] = version
            self._ledger.note(z, version)
        self._settle(set(slabs_reading(self._plan, z)) & self._open, self._place.now(), worked=False)

    def _begin(self, step: Segment) -> bool:
        """Gather a block's slices; tell whether they are still those that the step was planned with."""
        block = self._plan.block_at(step.index)
        if block.output.stop[0] > self._depth:
            self.wanted_depth = block.output.stop[0]
            raise StopIteration
        planned = {z: self._slices[z] for z in step.planes}
        pinned: dict[int, Voxels] = {}
        for z in sorted(planned):
            pixels = self.shelf.get(z)
            if pixels is None:
                self._look(z)
                pixels = self.shelf.get(z)
            if pixels is None or self._slices.get(z) != planned[z]:
                return False
            pinned[z] = pixels
        if step.index in self._recorded:
            # A kill in the middle of the second writing must not leave a promise of the first.
            self._ledger.void(step.index)
            self._recorded.discard(step.index)
            self._stamps.pop(step.index, None)
        self._busy[step.index] = step
        self._pinned[step.index] = pinned
        return True

    def _waits_for(self) -> str:
        """Say what the first slab that is not done lacks."""
        first = min(self._open, default=None)
        if first is None:
            return ""
        lacking = [z for z in slab_planes(self._plan, first) if z not in self._slices]
        if not lacking:
            return ""
        z = min(lacking)
        wrong = self._wrong.get(z)
        number = z + self._place.series.first
        return f"slice {number}" + ("" if wrong is None else f" ({Path(self._name(z)).name} cannot be used)")

    def _name(self, z: int) -> str:
        return self._names[z][0] if z in self._names else ""
