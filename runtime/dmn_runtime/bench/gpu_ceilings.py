"""A GPU's ceilings, by the marks of a stream: a large copy by its own threads, and large matrix products."""

from collections.abc import Callable
from contextlib import ExitStack
from statistics import median

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.bench.ceilings import CeilingFault
from dmn_runtime.bench.product import Product
from dmn_runtime.gpu.device import Device, DeviceMemory, Stream
from dmn_runtime.gpu.kernels import Kernels, Part, launch_copy, open_kernels
from dmn_runtime.gpu.network import DeviceRunner

COPY_BYTES = 512 * 2**20
"""Of the source; the target is as large."""
LEAST_COPY_BYTES = 128 * 2**20
"""With the target twice the largest L2 cache: a smaller copy says nothing of the memory behind it."""
WARM_UPS = 3
REPEATS = 10
_FREE_SHARE = 4
_RANDOM_BYTES = 32 * 2**20
_ALIGNMENT = 256


def copy_on_gpu(device: Device) -> float:
    """Return the bytes per second, read and written, of `dmn_copy` on random bytes; median of `REPEATS`.

    Args:
        device: on which nothing else is under way.

    Raises:
        CeilingFault: too little of its memory is free.
        EngineError: the driver refuses.
    """
    device.make_current()
    nbytes = min(COPY_BYTES, device.free_bytes() // _FREE_SHARE) // _ALIGNMENT * _ALIGNMENT
    if nbytes < LEAST_COPY_BYTES:
        raise CeilingFault(
            f"the GPU's memory has room for a copy of {nbytes / 2**20:.0f} MiB only, which its cache may hold"
        )
    with ExitStack() as held:
        kernels = held.enter_context(open_kernels(device))
        stream = device.stream()
        held.callback(stream.close)
        source, target = (_taken(held, device, nbytes) for _ in range(2))
        held.callback(stream.synchronise)  # before anything is given back
        _fill(device, stream, kernels, source)
        return 2 * nbytes / marked_s(stream, lambda: launch_copy(stream, kernels, source, target, nbytes))


def product_on_gpu(runner: DeviceRunner, product: Product) -> float:
    """Return the seconds of one call of a product's network on the GPU; median of `REPEATS`.

    Raises:
        EngineError: there is not enough memory, or the library refuses.
    """
    device = runner.device
    device.make_current()
    with ExitStack() as held:
        bound = runner.bind(product.shape)
        held.callback(bound.release)
        held.callback(bound.stream.synchronise)
        image = product.image(0).astype(runner.batch_dtype)
        _upload(device, bound.stream, image.reshape(-1).view(np.uint8), bound.image)
        return marked_s(bound.stream, bound.enqueue)


def marked_s(stream: Stream, work: Callable[[], None]) -> float:
    """Return the median of the seconds between two marks around work on a stream, after warming up."""
    for _ in range(WARM_UPS):
        work()
    stream.synchronise()
    spans = []
    with ExitStack() as marks:
        for _ in range(REPEATS):
            before = stream.mark()
            marks.callback(before.close)
            work()
            after = stream.mark()
            marks.callback(after.close)
            spans.append((before, after))
        stream.synchronise()
        return median(after.seconds_since(before) for before, after in spans)


def _taken(held: ExitStack, device: Device, nbytes: int) -> DeviceMemory:
    memory = device.device_memory(nbytes)
    held.callback(memory.free)
    return memory


def _fill(device: Device, stream: Stream, kernels: Kernels, memory: DeviceMemory) -> None:
    """Fill memory with random bytes, doubled from a part: equal bytes take less power, and may be packed."""
    filled = min(_RANDOM_BYTES, memory.nbytes)
    part = np.random.default_rng(0).integers(0, 256, filled, np.uint8)
    _upload(device, stream, part, memory)
    while filled < memory.nbytes:
        more = min(filled, memory.nbytes - filled)
        launch_copy(stream, kernels, memory, Part(memory.address + filled, more), more)
        filled += more


def _upload(device: Device, stream: Stream, content: NDArray[np.uint8], target: DeviceMemory) -> None:
    """Copy bytes to the start of device memory, now."""
    pinned = device.host_memory(content.nbytes)
    try:
        pinned.data[:] = content
        stream.upload(pinned, target, content.nbytes)
        stream.synchronise()
    finally:
        pinned.free()
