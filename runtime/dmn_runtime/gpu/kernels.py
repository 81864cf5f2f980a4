"""Launchers of the fused kernels: addresses and sizes checked, threads laid out, nothing else decided.

All return at once; the buffers belong to the stream until it has passed the launch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from dmn_runtime.geometry import Triple, ceil_div
from dmn_runtime.gpu.device import Argument, Device, Kernel, Module, Stream
from dmn_runtime.gpu.fatbin import read_fatbin
from dmn_runtime.gpu.sheet import sheet_words
from dmn_runtime.gpu.twins import Layout

THREADS_A_BLOCK = 256
ROWS_A_THREAD = 4
"""So that a block reads its table once for several thousand pixels."""
PACK_BYTES = 16
MOST_CLASSES = 255
COPY_NAME = "dmn_copy"
_COPIED_PACKS_A_THREAD = 4
_MOST_GRID_X = 2**31 - 1
_MOST_GRID_YZ = 65535
_VOXELS: dict[np.dtype[Any], str] = {np.dtype(np.uint8): "u8", np.dtype(np.uint16): "u16"}
_REALS: dict[np.dtype[Any], str] = {np.dtype(np.float16): "f16", np.dtype(np.float32): "f32"}
_LAYOUTS: tuple[Layout, ...] = ("nchw", "nhwc")

KERNEL_NAMES = (
    *(
        f"dmn_gather_{v}_{r}_{layout}"
        for v in _VOXELS.values()
        for r in _REALS.values()
        for layout in _LAYOUTS
    ),
    *(f"dmn_scatter_{r}_{layout}" for r in _REALS.values() for layout in _LAYOUTS),
    COPY_NAME,
)
"""As tiles.cu has them."""


class Bytes(Protocol):
    """Where bytes lie on the device, and how many."""

    @property
    def address(self) -> int:
        """Of the first."""
        ...

    @property
    def nbytes(self) -> int:
        """How many."""
        ...


@dataclass(frozen=True)
class Part:
    """Some of a memory's bytes; satisfies `Bytes`."""

    address: int
    nbytes: int


@dataclass(frozen=True)
class Images:
    """A batch of images, in or out of the network: contiguous, all of one size.

    Attributes:
        count: images; how many of them are in use the sheet says.
        channels: of each.
        height: in px; `width` likewise.
        real: float16 or float32.
        layout: nchw or nhwc.
    """

    count: int
    channels: int
    height: int
    width: int
    real: np.dtype[Any]
    layout: Layout = "nchw"

    @property
    def nbytes(self) -> int:
        """Of all of them."""
        return self.count * self.channels * self.height * self.width * self.real.itemsize

    @property
    def pack(self) -> int:
        """Elements that a thread owns."""
        return PACK_BYTES // self.real.itemsize


@dataclass(frozen=True)
class Kernels:
    """The fused kernels on a device; `open_kernels` loads them. Keys are their names."""

    module: Module
    by_name: Mapping[str, Kernel]

    def close(self) -> None:
        """Give them back, once no launch is under way."""
        self.module.close()

    def __enter__(self) -> "Kernels":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def gather_name(voxel: np.dtype[Any], real: np.dtype[Any], layout: Layout) -> str:
    """Return the name of a gather.

    Raises:
        ValueError: there is none for these types.
    """
    return f"dmn_gather_{_word(_VOXELS, voxel)}_{_word(_REALS, real)}_{_checked(layout)}"


def scatter_name(real: np.dtype[Any], layout: Layout) -> str:
    """Return the name of a scatter.

    Raises:
        ValueError: there is none for these types.
    """
    return f"dmn_scatter_{_word(_REALS, real)}_{_checked(layout)}"


def open_kernels(device: Device) -> Kernels:
    """Load the installed kernels onto a device that is current.

    Raises:
        EngineError: the install is damaged, or they hold no code for this GPU.
    """
    module = device.load(read_fatbin())
    try:
        return Kernels(module, {name: module.kernel(name) for name in KERNEL_NAMES})
    except BaseException:
        module.close()
        raise


def launch_gather(
    stream: Stream,
    kernels: Kernels,
    patch: Bytes,
    sheet: Bytes,
    table: Bytes,
    batch: Bytes,
    images: Images,
    voxel: np.dtype[Any],
) -> None:
    """Enqueue patch -> batch.

    Args:
        stream: of the device that the kernels are on.
        kernels: open.
        patch: voxels zyx, rows `sheet[9]` elements apart.
        sheet: int32 words of the batch.
        table: the network's input of each grey value, as `images.real`.
        batch: written where the sheet has tiles in use.
        images: what `batch` holds.
        voxel: uint8 or uint16.

    Raises:
        ValueError: a type has no kernel, or a buffer is too small.
        EngineError: the driver refuses the launch.
    """
    kernel = kernels.by_name[gather_name(voxel, images.real, images.layout)]
    _check_images(images)
    _check("patch", patch, 1, voxel)
    _check("sheet", sheet, sheet_words(images.count), np.dtype(np.int32))
    _check("table", table, 256**voxel.itemsize, images.real)
    _check("batch", batch, images.nbytes // images.real.itemsize, images.real)
    by_channel = images.layout == "nchw"
    length = images.width * (1 if by_channel else images.channels)
    planes = images.count * (images.channels if by_channel else 1)
    addresses = [_address(each) for each in (patch, sheet, table, batch)]
    stream.launch(
        kernel, *lay_threads(length, images.height, planes, images.pack), [*addresses, *_sizes(images)]
    )


def launch_scatter(
    stream: Stream,
    kernels: Kernels,
    logits: Bytes,
    sheet: Bytes,
    probability: Bytes,
    mask: Bytes | None,
    images: Images,
    grey_threshold: int,
) -> None:
    """Enqueue logits -> probability and mask.

    Args:
        stream: of the device that the kernels are on.
        kernels: open.
        logits: of the batch.
        sheet: int32 words of the batch.
        probability: uint8 zyx of the shape `sheet[10:13]`; the cores are written.
        mask: of the same shape, or None.
        images: what `logits` holds: one channel, or the background and one for each class.
        grey_threshold: smallest grey level that is foreground in the mask, 0 to 255.

    Raises:
        ValueError: a type has no kernel, a buffer is too small, or a number out of range.
        EngineError: the driver refuses the launch.
    """
    kernel = kernels.by_name[scatter_name(images.real, images.layout)]
    _check_images(images)
    if images.channels > MOST_CLASSES + 1 or not 0 <= grey_threshold <= 255:
        raise ValueError(
            f"{images.channels} channels and a threshold of {grey_threshold}: a uint8 holds neither"
        )
    grey = np.dtype(np.uint8)
    _check("logits", logits, images.nbytes // images.real.itemsize, images.real)
    _check("sheet", sheet, sheet_words(images.count), np.dtype(np.int32))
    _check("probability", probability, 1, grey)
    if mask is not None:
        _check("mask", mask, probability.nbytes, grey)
    written = [_address(probability), np.uint64(0) if mask is None else _address(mask)]
    arguments = [_address(logits), _address(sheet), *_sizes(images), np.int32(grey_threshold), *written]
    stream.launch(kernel, *lay_threads(images.width, images.height, images.count, images.pack), arguments)


def launch_copy(
    stream: Stream,
    kernels: Kernels,
    source: Bytes,
    target: Bytes,
    nbytes: int,
    threads: int = THREADS_A_BLOCK,
) -> None:
    """Enqueue a copy by threads of the GPU: what a kernel can reach at most that moves as many bytes.

    Args:
        stream: of the device that the kernels are on.
        kernels: open.
        source: bytes.
        target: others.
        nbytes: how many, from the first on.
        threads: of a block, at most `THREADS_A_BLOCK`.

    Raises:
        ValueError: a buffer is too small or not aligned to 16 bytes, or nothing is to be copied.
        EngineError: the driver refuses the launch.
    """
    if nbytes < 1:
        raise ValueError(f"{nbytes} bytes are no copy")
    for what, memory in (("source", source), ("target", target)):
        _check(what, memory, nbytes, np.dtype(np.uint8))
        if memory.address % PACK_BYTES:
            raise ValueError(
                f"{what} begins at {memory.address:#x}, which no pack of {PACK_BYTES} bytes does"
            )
    blocks = min(ceil_div(nbytes, PACK_BYTES * _COPIED_PACKS_A_THREAD * threads), _MOST_GRID_X)
    arguments: list[Argument] = [_address(source), _address(target), np.int64(nbytes)]
    stream.launch(kernels.by_name[COPY_NAME], (blocks, 1, 1), (threads, 1, 1), arguments)


def lay_threads(
    length: int, rows: int, planes: int, pack: int, threads: int = THREADS_A_BLOCK
) -> tuple[Triple, Triple]:
    """Lay out grid and block over planes of rows; the kernels stride over what is left.

    A warp lies along a row where rows are long enough: its stores are then one piece of memory.

    Args:
        length: elements of a row.
        rows: of a plane.
        planes: in all.
        pack: elements that a thread owns.
        threads: of a block, a power of two, at least 32.

    Returns:
        Blocks along x, y, z and threads along x, y, z.
    """
    packs = ceil_div(length, pack)
    across = min(32, 1 << (packs - 1).bit_length())
    down = threads // across
    bands = ceil_div(rows, down * ROWS_A_THREAD)
    grid = (ceil_div(packs, across), min(bands, _MOST_GRID_YZ), min(planes, _MOST_GRID_YZ))
    return grid, (across, down, 1)


def _sizes(images: Images) -> list[Argument]:
    return [np.int32(n) for n in (images.count, images.channels, images.height, images.width)]


def _address(memory: Bytes) -> np.uint64:
    return np.uint64(memory.address)


def _check_images(images: Images) -> None:
    sizes = (images.count, images.channels, images.height, images.width)
    # Rows and planes are counted in int32 by the kernels, with a stride of all threads to spare.
    if min(sizes) < 1 or max(images.width * images.channels, images.count * images.channels) > 2**28:
        raise ValueError(f"images of {sizes} (nchw) cannot be counted")


def _check(what: str, memory: Bytes, elements: int, dtype: np.dtype[Any]) -> None:
    if memory.nbytes < elements * dtype.itemsize:
        raise ValueError(
            f"{what} has {memory.nbytes} bytes, {elements * dtype.itemsize} are wanted "
            f"({elements} of {dtype})"
        )
    if memory.address % dtype.itemsize:
        raise ValueError(f"{what} begins at {memory.address:#x}, which no {dtype} does")


def _word(words: Mapping[np.dtype[Any], str], dtype: np.dtype[Any]) -> str:
    if dtype not in words:
        raise ValueError(f"there is no kernel for {dtype}, only for {', '.join(map(str, words))}")
    return words[dtype]


def _checked(layout: Layout) -> Layout:
    if layout not in _LAYOUTS:
        raise ValueError(f"there is no kernel for the layout {layout}, only for {' and '.join(_LAYOUTS)}")
    return layout
