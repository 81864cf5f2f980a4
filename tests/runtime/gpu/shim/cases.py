"""Random patches, tiles and logits, the kernels run on them, and the comparison with the twins.

What is compared: every element that a kernel may write, every element that it must leave as it was, and
guards before and behind each buffer.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.geometry import Triple
from dmn_runtime.gpu.device import Argument
from dmn_runtime.gpu.kernels import (
    KERNEL_NAMES,
    Images,
    Kernels,
    launch_copy,
    launch_gather,
    launch_scatter,
)
from dmn_runtime.gpu.sheet import HEADER_WORDS, TILE_WORDS, sheet_words
from dmn_runtime.gpu.twins import copy_bytes, gather_batch, scatter_batch

DrawInt = Callable[[int, int], int]
"""An integer between two bounds, both included: hypothesis's or a generator's."""

BOUNDARY = 256
GUARD_BYTES = 256
"""A multiple of the boundary."""
RUBBISH = 0xA5
MOST_LEVELS_APART = 1
MOST_SHARE_APART = 0.01
"""Of the pixels whose exp falls beside NumPy's by a last bit just where the level changes."""


@dataclass(frozen=True)
class NamedKernel:
    """A kernel of the shim."""

    name: str


@dataclass(frozen=True)
class NoModule:
    """The shim's module: there is nothing to give back."""

    def close(self) -> None:
        """Do nothing."""


@dataclass
class ShimStream:
    """The part of a stream that launchers use; a launch is done when it returns."""

    shim: Any

    def launch(self, kernel: NamedKernel, grid: Triple, block: Triple, arguments: Sequence[Argument]) -> None:
        """Run the kernel."""
        self.shim.launch(kernel.name, grid, block, arguments)


@dataclass(frozen=True)
class Placed:
    """An array with guards around it; `address` and `nbytes` as a device's memory has them."""

    array: NDArray[Any]
    room: NDArray[np.uint8]

    @property
    def address(self) -> int:
        """Of the first byte."""
        return int(self.array.ctypes.data)

    @property
    def nbytes(self) -> int:
        """Without the guards."""
        return int(self.array.nbytes)

    def guards_hold(self) -> bool:
        """Tell whether nothing was written before or behind the array."""
        start = self.address - self.room.ctypes.data
        return bool(
            (self.room[:start] == RUBBISH).all() and (self.room[start + self.nbytes :] == RUBBISH).all()
        )


def place(
    shape: Sequence[int],
    dtype: Any,
    content: NDArray[Any] | None = None,
    shift: int = 0,
    guard_bytes: int = GUARD_BYTES,
) -> Placed:
    """Return rubbish, or a copy of `content`, `shift` elements beyond a 256-byte boundary."""
    nbytes = prod(shape) * np.dtype(dtype).itemsize
    room = np.full(nbytes + 2 * guard_bytes + 2 * BOUNDARY, RUBBISH, np.uint8)
    start = -room.ctypes.data % BOUNDARY + guard_bytes + shift * np.dtype(dtype).itemsize
    array = room[start : start + nbytes].view(dtype).reshape(shape)
    if content is not None:
        array[...] = content
    return Placed(array, room)


def shim_kernels() -> Kernels:
    """Return the kernels as the launchers take them."""
    return Kernels(NoModule(), {name: NamedKernel(name) for name in KERNEL_NAMES})  # type: ignore[arg-type]


@dataclass(frozen=True)
class Geometry:
    """A sheet and what it speaks of."""

    sheet: NDArray[np.int32]
    count: int
    channels: int
    height: int
    width: int
    pitch: int
    patch_shift: int
    batch_shift: int
    output_shift: int


def draw_geometry(draw: DrawInt) -> Geometry:
    """Draw a volume from 1 voxel on, a patch anywhere in it, tiles around it and cores inside them."""
    volume = [draw(1, 5), draw(1, 40), draw(1, 70)]
    start = [draw(0, n - 1) for n in volume]
    shape = [draw(1, n - a) for n, a in zip(volume, start, strict=True)]
    pitch = shape[2] + draw(0, 20)
    count, height, width = draw(1, 4), draw(1, 40), draw(1, 80)
    output = [count + draw(0, 1), draw(1, 40), draw(1, 80)]
    used = draw(0, count)
    sheet = np.zeros(sheet_words(count), np.int32)
    sheet[0:14] = [*start, *shape, *volume, pitch, *output, used]
    rows = sheet[HEADER_WORDS:].reshape(count, TILE_WORDS)
    for index, words in enumerate(rows):
        skip = (draw(0, height - 1), draw(0, width - 1))
        target = (draw(0, output[1] - 1), draw(0, output[2] - 1))
        core = (
            draw(0, min(height - skip[0], output[1] - target[0])),
            draw(0, min(width - skip[1], output[2] - target[1])),
        )
        origin = (draw(-3, volume[0] + 2), draw(-45, volume[1]), draw(-90, volume[2]))
        # Each tile has a slice of the output for itself: cores never overlap.
        words[:] = [*origin, *skip, *core, index, *target]
    channels = 2 * draw(0, 2) + 1
    shifts = [draw(0, 3) * draw(0, 1) for _ in range(3)]
    return Geometry(sheet, count, channels, height, width, pitch, *shifts)


@dataclass(frozen=True)
class GatherCase:
    """What a gather is given."""

    geometry: Geometry
    patch: NDArray[Any]
    table: NDArray[Any]
    images: Images


def gather_case(geometry: Geometry, voxel: Any, real: Any, layout: Any, seed: int) -> GatherCase:
    """Fill a geometry with random voxels, the padding of the rows included, and draw a table."""
    rng = np.random.default_rng(seed)
    top = np.iinfo(voxel).max + 1
    depth, rows = geometry.sheet[3:5]
    patch = rng.integers(0, top, (depth, rows, geometry.pitch)).astype(voxel)
    table = rng.normal(size=top).astype(real)
    images = Images(
        geometry.count, geometry.channels, geometry.height, geometry.width, np.dtype(real), layout
    )
    return GatherCase(geometry, patch, table, images)


def gather_fault(case: GatherCase, shim: Any) -> str | None:
    """Run a gather and its twin; say where they differ, or None."""
    geometry, images = case.geometry, case.images
    patch = place(case.patch.shape, case.patch.dtype, case.patch, geometry.patch_shift)
    sheet = place(geometry.sheet.shape, np.int32, geometry.sheet)
    table = place(case.table.shape, case.table.dtype, case.table)
    c, h, w = images.channels, images.height, images.width
    shape = (images.count, c, h, w) if images.layout == "nchw" else (images.count, h, w, c)
    batch = place(shape, images.real, shift=geometry.batch_shift)
    wanted = batch.array.copy()
    wanted[: geometry.sheet[13]] = gather_batch(
        case.patch, geometry.sheet, case.table, c, h, w, images.layout
    )
    stream: Any = ShimStream(shim)
    launch_gather(stream, shim_kernels(), patch, sheet, table, batch, images, case.patch.dtype)
    if wanted.tobytes() != batch.array.tobytes():
        return "the batch is not the twin's"
    return None if batch.guards_hold() else "something was written outside the batch"


@dataclass(frozen=True)
class ScatterCase:
    """What a scatter is given."""

    geometry: Geometry
    logits: NDArray[Any]
    images: Images
    grey_threshold: int
    has_mask: bool


def scatter_case(
    geometry: Geometry, channels: int, real: Any, layout: Any, grey_threshold: int, has_mask: bool, seed: int
) -> ScatterCase:
    """Fill a geometry with random logits: ties between channels and levels at the threshold are frequent."""
    rng = np.random.default_rng(seed)
    shape = (geometry.count, channels, geometry.height, geometry.width)
    logits = rng.normal(0.0, 6.0, shape)
    at_threshold = np.log((grey_threshold + 0.2) / (255.0 - min(grey_threshold, 254) - 0.2))
    choice = rng.integers(0, 4, shape)
    logits = np.select([choice == 0, choice == 1], [np.round(logits), at_threshold], logits)
    images = Images(geometry.count, channels, geometry.height, geometry.width, np.dtype(real), layout)
    order = (0, 1, 2, 3) if layout == "nchw" else (0, 2, 3, 1)
    contiguous = np.ascontiguousarray(logits.astype(real).transpose(order))
    return ScatterCase(geometry, contiguous, images, grey_threshold, has_mask)


def run_scatter(
    case: ScatterCase, shim: Any, mask: Placed | None = None, guard_bytes: int = GUARD_BYTES
) -> Placed:
    """Run a scatter into rubbish; return the probability."""
    geometry = case.geometry
    logits = place(case.logits.shape, case.logits.dtype, case.logits, geometry.batch_shift)
    sheet = place(geometry.sheet.shape, np.int32, geometry.sheet)
    grey = place(output_shape(geometry), np.uint8, None, geometry.output_shift, guard_bytes)
    stream: Any = ShimStream(shim)
    launch_scatter(stream, shim_kernels(), logits, sheet, grey, mask, case.images, case.grey_threshold)
    return grey


def output_shape(geometry: Geometry) -> Triple:
    """Return the shape of probability and mask, zyx."""
    z, y, x = (int(n) for n in geometry.sheet[10:13])
    return (z, y, x)


def scatter_fault(case: ScatterCase, shim: Any) -> str | None:
    """Run a scatter and its twin; say where they differ by more than the last bits of exp, or None."""
    geometry, shape = case.geometry, output_shape(case.geometry)
    mask = place(shape, np.uint8, shift=geometry.patch_shift)
    untouched = mask.array.copy()
    wanted_grey, wanted_mask = untouched.copy(), untouched.copy()
    scatter_batch(
        case.logits, geometry.sheet, wanted_grey, wanted_mask, case.grey_threshold, case.images.layout
    )
    grey = run_scatter(case, shim, mask if case.has_mask else None)
    if not grey.guards_hold() or not mask.guards_hold():
        return "something was written outside the output"
    apart = np.abs(grey.array.astype(int) - wanted_grey)
    if apart.max() > MOST_LEVELS_APART or (apart > 0).sum() > 2 + MOST_SHARE_APART * apart.size:
        return f"{(apart > 0).sum()} of {apart.size} grey levels are not the twin's, by up to {apart.max()}"
    if (mask.array != (wanted_mask if case.has_mask else untouched))[apart == 0].any():
        return "the mask is not the twin's where the grey levels are"
    return None


def copy_fault(nbytes: int, shim: Any, seed: int, spare: int = 40) -> str | None:
    """Copy between buffers that are `spare` bytes larger; say where it differs from the twin, or None."""
    rng = np.random.default_rng(seed)
    source = place((nbytes + spare,), np.uint8, rng.integers(0, 256, nbytes + spare).astype(np.uint8))
    target = place((nbytes + spare,), np.uint8)
    wanted = target.array.copy()
    copy_bytes(source.array, wanted, nbytes)
    stream: Any = ShimStream(shim)
    launch_copy(stream, shim_kernels(), source, target, nbytes)
    if not np.array_equal(target.array, wanted):
        return "the copy is not the twin's"
    return None if target.guards_hold() else "something was written outside the copy"


@contextmanager
def misalignment_is_a_fault() -> Iterator[list[str]]:
    """Collect what a launch breaks off with."""
    told: list[str] = []
    try:
        yield told
    except ValueError as error:
        told.append(str(error))


FORMS = [
    (voxel, real, layout)
    for voxel in (np.uint8, np.uint16)
    for real in (np.float16, np.float32)
    for layout in ("nchw", "nhwc")
]
"""What gathers there are; scatters lack the first."""


def first_fault(shim: Any, cases: int, seed: int = 0) -> str | None:
    """Try kernels of every form on random cases until one differs from its twin; None where none does."""
    rng = np.random.default_rng(seed)

    def draw(low: int, high: int) -> int:
        return int(rng.integers(low, high + 1))

    for case in range(cases):
        voxel, real, layout = FORMS[case % len(FORMS)]
        geometry = draw_geometry(draw)
        channels, threshold = draw(1, 4), draw(0, 255)
        with misalignment_is_a_fault() as told:
            fault = gather_fault(gather_case(geometry, voxel, real, layout, case), shim)
            fault = fault or scatter_fault(
                scatter_case(geometry, channels, real, layout, threshold, True, case), shim
            )
            fault = fault or copy_fault(draw(1, 100), shim, case)
            told += [] if fault is None else [fault]
        if told:
            return told[0]
    return None
