"""The launchers: what they hand to the stream, and what they refuse."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmn_runtime.errors import EngineError
from dmn_runtime.gpu.kernels import (
    KERNEL_NAMES,
    THREADS_A_BLOCK,
    Images,
    Kernels,
    launch_copy,
    launch_gather,
    launch_scatter,
    open_kernels,
)

F16, F32, U8, U16 = (np.dtype(t) for t in (np.float16, np.float32, np.uint8, np.uint16))
IMAGES = Images(2, 3, 40, 48, F16)


@dataclass(frozen=True)
class Memory:
    address: int
    nbytes: int


@dataclass
class Stream:
    launched: list[Any] = field(default_factory=list)

    def launch(self, kernel: Any, grid: Any, block: Any, arguments: Any) -> None:
        self.launched.append((kernel, grid, block, arguments))


@dataclass
class Module:
    missing: str = ""
    closed: int = 0

    def kernel(self, name: str) -> Any:
        if name == self.missing:
            raise EngineError(f"no {name}")
        return name

    def close(self) -> None:
        self.closed += 1


@dataclass
class Device:
    module: Module

    def load(self, fatbin: bytes) -> Module:
        assert len(fatbin) > 1000
        return self.module


KERNELS = Kernels(Module(), {name: name for name in KERNEL_NAMES})  # type: ignore[arg-type,misc]
GATHER = {
    "patch": Memory(0x1000, 100),
    "sheet": Memory(0x2000, 4 * (16 + 2 * 10)),
    "table": Memory(0x3000, 512),
    "batch": Memory(0x4000, 2 * 3 * 40 * 48 * 2),
}
SCATTER = {
    "logits": Memory(0x1000, 2 * 3 * 40 * 48 * 2),
    "sheet": Memory(0x2000, 4 * (16 + 2 * 10)),
    "probability": Memory(0x3000, 500),
    "mask": Memory(0x4000, 500),
}


def gather(images: Images = IMAGES, voxel: Any = U8, **changes: Any) -> Any:
    stream: Any = Stream()
    launch_gather(stream, KERNELS, images=images, voxel=voxel, **{**GATHER, **changes})
    return stream.launched[0]


def scatter(images: Images = IMAGES, grey_threshold: int = 128, **changes: Any) -> Any:
    stream: Any = Stream()
    launch_scatter(stream, KERNELS, images=images, grey_threshold=grey_threshold, **{**SCATTER, **changes})
    return stream.launched[0]


def test_gather_takes_addresses_then_sizes() -> None:
    kernel, grid, block, arguments = gather()
    assert kernel == "dmn_gather_u8_f16_nchw"
    assert (grid, block) == ((1, 1, 6), (8, 32, 1))
    assert [int(each) for each in arguments] == [0x1000, 0x2000, 0x3000, 0x4000, 2, 3, 40, 48]
    assert [type(each) for each in arguments] == [np.uint64] * 4 + [np.int32] * 4


def test_scatter_takes_what_it_reads_then_sizes_then_what_it_writes() -> None:
    kernel, grid, block, arguments = scatter()
    assert kernel == "dmn_scatter_f16_nchw"
    assert (grid, block) == ((1, 1, 2), (8, 32, 1))
    assert [int(each) for each in arguments] == [0x1000, 0x2000, 2, 3, 40, 48, 128, 0x3000, 0x4000]
    assert [type(each) for each in arguments] == [np.uint64] * 2 + [np.int32] * 5 + [np.uint64] * 2


def test_no_mask_is_a_null_pointer() -> None:
    assert int(scatter(mask=None)[3][-1]) == 0


def test_types_and_layout_name_the_kernel() -> None:
    images = replace(IMAGES, real=F32, layout="nhwc")
    batch, table = Memory(0x4000, images.nbytes), Memory(0x3000, 4 * 65536)
    assert gather(images, U16, batch=batch, table=table)[0] == "dmn_gather_u16_f32_nhwc"
    assert scatter(images, logits=batch)[0] == "dmn_scatter_f32_nhwc"


@given(
    count=st.integers(1, 10**5),
    channels=st.integers(1, 9),
    height=st.integers(1, 10**5),
    width=st.integers(1, 4000),
    layout=st.sampled_from(["nchw", "nhwc"]),
)
def test_every_launch_is_one_that_a_gpu_takes(
    count: int, channels: int, height: int, width: int, layout: Any
) -> None:
    images = Images(count, channels, height, width, F16, layout)
    huge = Memory(0x1000, 2**62)
    for _, grid, block, _ in (
        gather(images, sheet=huge, batch=huge),
        scatter(images, sheet=huge, logits=huge),
    ):
        assert np.prod(block) == THREADS_A_BLOCK
        assert min(grid) >= 1
        assert max(grid[1:]) <= 65535
        assert grid[0] * block[0] * images.pack >= width


def test_long_rows_are_written_by_whole_warps() -> None:
    images = Images(8, 1, 1152, 1152, F16)
    huge = Memory(0x1000, 2**40)
    assert gather(images, sheet=huge, batch=huge)[1:3] == ((5, 36, 8), (32, 8, 1))


@pytest.mark.parametrize("what", GATHER)
def test_gather_refuses_a_buffer_that_is_too_small(what: str) -> None:
    memory = GATHER[what]
    least = 1 if what == "patch" else memory.nbytes
    gather(**{what: Memory(memory.address, least)})
    with pytest.raises(ValueError, match=f"{what} has {least - 1} bytes, {least} are wanted"):
        gather(**{what: Memory(memory.address, least - 1)})


@pytest.mark.parametrize("what", SCATTER)
def test_scatter_refuses_a_buffer_that_is_too_small(what: str) -> None:
    memory = SCATTER[what]
    least = 1 if what == "probability" else memory.nbytes
    changes = {"mask": None} if what == "probability" else {}
    scatter(**{**changes, what: Memory(memory.address, least)})
    with pytest.raises(ValueError, match=f"{what} has {least - 1} bytes, {least} are wanted"):
        scatter(**{**changes, what: Memory(memory.address, least - 1)})


def test_what_has_no_kernel_is_refused() -> None:
    with pytest.raises(ValueError, match="no kernel for int16, only for uint8, uint16"):
        gather(voxel=np.dtype(np.int16))
    with pytest.raises(ValueError, match="no kernel for float64, only for float16, float32"):
        scatter(replace(IMAGES, real=np.dtype(np.float64)))
    with pytest.raises(ValueError, match="no kernel for the layout chwn"):
        scatter(replace(IMAGES, layout="chwn"))  # type: ignore[arg-type]


def test_an_address_between_two_elements_is_refused() -> None:
    with pytest.raises(ValueError, match="batch begins at 0x4001, which no float16 does"):
        gather(batch=Memory(0x4001, 1 << 20))


@pytest.mark.parametrize("changes", [{"count": 0}, {"width": 0}, {"width": 2**28}, {"count": 2**27}])
def test_images_that_cannot_be_counted_are_refused(changes: Any) -> None:
    huge = Memory(0x1000, 2**62)
    with pytest.raises(ValueError, match="cannot be counted"):
        gather(replace(IMAGES, **changes), sheet=huge, batch=huge)


@pytest.mark.parametrize(("channels", "threshold"), [(257, 1), (1, 256), (1, -1)])
def test_what_a_byte_does_not_hold_is_refused(channels: int, threshold: int) -> None:
    with pytest.raises(ValueError, match="a uint8 holds"):
        scatter(replace(IMAGES, channels=channels), threshold, logits=Memory(0x1000, 2**40))


def copied(nbytes: int, source: Memory, target: Memory, **threads: int) -> Any:
    stream: Any = Stream()
    launch_copy(stream, KERNELS, source, target, nbytes, **threads)
    return stream.launched[0]


def test_copy_takes_addresses_then_bytes() -> None:
    kernel, grid, block, arguments = copied(100_000, Memory(0x1000, 100_000), Memory(0x2000, 200_000))
    assert (kernel, grid, block) == ("dmn_copy", (7, 1, 1), (256, 1, 1))
    assert [int(each) for each in arguments] == [0x1000, 0x2000, 100_000]
    assert [type(each) for each in arguments] == [np.uint64, np.uint64, np.int64]
    assert copied(100_000, Memory(0x1000, 2**20), Memory(0x2000, 2**20), threads=64)[1:3] == (
        (25, 1, 1),
        (64, 1, 1),
    )


@pytest.mark.parametrize(
    ("nbytes", "source", "target", "words"),
    [
        (16, Memory(0x1000, 15), Memory(0x2000, 16), "source has 15 bytes, 16 are wanted"),
        (16, Memory(0x1000, 16), Memory(0x2000, 15), "target has 15 bytes, 16 are wanted"),
        (16, Memory(0x1008, 16), Memory(0x2000, 16), "source begins at 0x1008, which no pack of 16 bytes"),
        (16, Memory(0x1000, 16), Memory(0x2004, 16), "target begins at 0x2004, which no pack of 16 bytes"),
        (0, Memory(0x1000, 16), Memory(0x2000, 16), "0 bytes are no copy"),
    ],
)
def test_a_copy_that_cannot_be_is_refused(nbytes: int, source: Memory, target: Memory, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        copied(nbytes, source, target)


def test_open_kernels_holds_all_of_them_until_it_is_closed() -> None:
    module = Module()
    with open_kernels(Device(module)) as kernels:  # type: ignore[arg-type]
        assert tuple(kernels.by_name) == KERNEL_NAMES
        assert module.closed == 0
    assert module.closed == 1


def test_a_module_without_one_of_them_is_given_back() -> None:
    module = Module(missing=KERNEL_NAMES[-1])
    with pytest.raises(EngineError):
        open_kernels(Device(module))  # type: ignore[arg-type]
    assert module.closed == 1
