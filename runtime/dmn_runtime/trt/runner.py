"""Run a plan: tiles in, logits out, from any number of threads.

Contexts that run side by side must not share an optimisation profile, so there are as many contexts as the
plan has profiles (`BuildJob.contexts`); each has its stream and buffers, and a thread that finds none free
waits. With one profile the plan's calls simply follow one another.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.errors import EngineError, GpuMemoryError
from dmn_runtime.gpu.device import Device, DeviceMemory, HostMemory, Stream
from dmn_runtime.trt.api import Api, Context, Engine
from dmn_runtime.trt.library import Library
from dmn_runtime.trt.loader import LoadedPlan, load_plan
from dmn_runtime.trt.profile import Nchw, Pass, TileProfile, plan_passes


@dataclass(frozen=True)
class Port:
    """A tensor at the plan's edge. `most`: its largest shape nchw."""

    name: str
    dtype: np.dtype[Any]
    most: tuple[int, ...]

    @property
    def most_bytes(self) -> int:
        """Bytes of the largest shape."""
        return math.prod(self.most) * self.dtype.itemsize


@dataclass
class Buffer:
    """A port's memory on both sides; the host's is taken when it is first asked for.

    Who lays batches on the device never asks. For one thread at a time.
    """

    port: Port
    device: DeviceMemory
    pin: Callable[[int], HostMemory]
    _pinned: HostMemory | None = None

    @property
    def host(self) -> HostMemory:
        """The host's side, for the largest shape.

        Raises:
            GpuMemoryError: there is not enough memory.
        """
        if self._pinned is None:
            self._pinned = self.pin(self.port.most_bytes)
        return self._pinned

    def view(self, shape: tuple[int, ...]) -> NDArray[Any]:
        """Return the host's side as an array of `shape`."""
        nbytes = math.prod(shape) * self.port.dtype.itemsize
        return self.host.data[:nbytes].view(self.port.dtype).reshape(shape)

    def free(self) -> None:
        """Give both sides back."""
        if self._pinned is not None:
            self._pinned.free()
        self.device.free()


@dataclass(frozen=True)
class Worker:
    """What one call at a time needs."""

    context: Context
    stream: Stream
    image: Buffer
    logits: Buffer

    def free(self) -> None:
        """Give memory and stream back."""
        self.image.free()
        self.logits.free()
        self.stream.close()


@dataclass
class BoundWorker:
    """A worker on loan to whoever lays its batches on the device; satisfies `BoundNetwork`."""

    worker: Worker
    shape: Nchw
    failed: Callable[[], EngineError]
    give_back: Callable[[Worker], None]
    capturable: bool = True
    returned: bool = False

    @property
    def stream(self) -> Stream:
        """On which it runs."""
        return self.worker.stream

    @property
    def image(self) -> DeviceMemory:
        """Where a batch is laid."""
        return self.worker.image.device

    @property
    def logits(self) -> DeviceMemory:
        """Where its logits come to lie."""
        return self.worker.logits.device

    def enqueue(self) -> None:
        """Enqueue the network; see `BoundNetwork`."""
        if not self.worker.context.execute_async_v3(self.stream.handle):
            raise self.failed()

    def release(self) -> None:
        """Return the worker."""
        if not self.returned:
            self.returned = True
            self.give_back(self.worker)


@dataclass(frozen=True)
class TensorRtRunner:
    """A plan on a device. `open_runner` makes one; `close` it, or use it in a with statement."""

    library: Library
    device: Device
    precision: str
    digest: str
    profile: TileProfile
    plan: LoadedPlan
    idle: SimpleQueue[Worker]
    contexts: int

    @property
    def description(self) -> str:
        """Library, version, device, precision and the plan's digest: another plan is another engine."""
        return f"{self.library.name}, {self.device.description}, {self.precision}, plan {self.digest}"

    def run(self, tiles: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run the network.

        Args:
            tiles: float32 nchw, any n; height and width at most the profile's, multiples of the stride. Each
                tile carries its halo: within that of its right and lower edge the logits of a tile smaller
                than the plan's are not those of the tile alone.

        Returns:
            float32 nchw logits, height and width as given. May be called from several threads at once.

        Raises:
            EngineError: the tiles do not fit the plan, or the GPU fails.
        """
        batch, _, height, width = tiles.shape
        passes = plan_passes(tiles.shape, self.profile)
        self.device.make_current()
        with self._worker() as worker:
            logits = np.empty((batch, worker.logits.port.most[1], height, width), np.float32)
            for step in passes:
                result = self._call(worker, step, tiles[step.start : step.stop])
                logits[step.start : step.stop] = result[: step.stop - step.start, :, :height, :width]
        return logits

    @contextmanager
    def _worker(self) -> Iterator[Worker]:
        worker = self.idle.get()
        try:
            yield worker
        finally:
            self.idle.put(worker)

    def _call(self, worker: Worker, step: Pass, tiles: NDArray[np.float32]) -> NDArray[Any]:
        """Run one pass; the result is a view that the worker's next call overwrites."""
        image, logits = worker.image, worker.logits
        _lay(image.view(step.shape), tiles)
        output_shape = (step.shape[0], logits.port.most[1], *step.shape[2:])
        output = logits.view(output_shape)
        worker.stream.upload(image.host, image.device, math.prod(step.shape) * image.port.dtype.itemsize)
        accepted = worker.context.set_input_shape(image.port.name, step.shape)
        if not accepted or tuple(worker.context.get_tensor_shape(logits.port.name)) != output_shape:
            worker.stream.synchronise()
            raise EngineError(f"the plan refuses tiles of shape {step.shape}: {self.plan.log.words()}")
        if not worker.context.execute_async_v3(worker.stream.handle):
            worker.stream.synchronise()
            raise self._failed()
        worker.stream.download(logits.device, logits.host, output.nbytes)
        worker.stream.synchronise()
        return output

    @property
    def batch_dtype(self) -> np.dtype[np.float16] | np.dtype[np.float32]:
        """Of batch and logits on the device."""
        engine, api = self.plan.engine, self.library.api
        [image], [logits] = _names(engine, api)
        found, given = _dtype(engine, api, image), _dtype(engine, api, logits)
        if found != given:
            raise EngineError(f"the plan takes {found} and gives {given}: build it from a DMN package")
        return found

    @property
    def fixed_shape(self) -> Nchw:
        """The largest batch that the plan takes."""
        return self.profile.most

    @property
    def most_bound(self) -> int:
        """How many streams may be bound at once."""
        return self.contexts

    def bind(self, shape: Nchw) -> BoundWorker:
        """Lend a worker for batches of one shape; see `DeviceRunner`. While it is lent `run` does without.

        Raises:
            EngineError: all are lent, or the plan does not take the shape.
        """
        try:
            worker = self.idle.get_nowait()
        except Empty:
            raise EngineError(f"the plan has {self.contexts} contexts and all are in use") from None
        wanted = (shape[0], worker.logits.port.most[1], *shape[2:])
        accepted = worker.context.set_input_shape(worker.image.port.name, shape)
        if not accepted or tuple(worker.context.get_tensor_shape(worker.logits.port.name)) != wanted:
            self.idle.put(worker)
            raise EngineError(f"the plan refuses batches of shape {shape}: {self.plan.log.words()}")
        return BoundWorker(worker, shape, self._failed, self.idle.put)

    def _failed(self) -> EngineError:
        return EngineError(
            f"{self.library.name} failed on {self.device.description}: {self.plan.log.words()}"
        )

    def close(self) -> None:
        """Give memory and streams back, once no call is under way; the runner cannot be used after."""
        self.device.make_current()
        for _ in range(self.contexts):
            self.idle.get().free()

    def __enter__(self) -> "TensorRtRunner":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_runner(plan: bytes, library: Library, device: Device, precision: str) -> TensorRtRunner:
    """Load a plan onto a device and take all the memory there that it will need.

    Args:
        plan: the file, whose hash the caller has checked; see `load_plan`.
        library: the one that built it, in the same version.
        device: open.
        precision: of the network, for the description.

    Raises:
        EngineError: the plan cannot be loaded or is no tile network, or memory is short.
    """
    device.make_current()
    loaded = load_plan(plan, library)
    profile = _profile(loaded.engine, library.api)
    workers: list[Worker] = []
    try:
        for index in range(loaded.engine.num_optimization_profiles):
            workers.append(_open_worker(loaded, library.api, device, profile, index))
    except BaseException:
        for worker in workers:
            worker.free()
        raise
    idle: SimpleQueue[Worker] = SimpleQueue()
    for worker in workers:
        idle.put(worker)
    digest = sha256(plan).hexdigest()[:12]
    return TensorRtRunner(library, device, precision, digest, profile, loaded, idle, len(workers))


def _lay(target: NDArray[Any], tiles: NDArray[np.float32]) -> None:
    """Write tiles into the upper left of `target`, zeros around; the cast to the port's type happens here."""
    batch, _, height, width = tiles.shape
    target[:batch, :, :height, :width] = tiles
    target[batch:] = 0
    target[:batch, :, height:] = 0
    target[:batch, :, :height, width:] = 0


def _profile(engine: Engine, api: Api) -> TileProfile:
    [name], _ = _names(engine, api)
    shapes = [tuple(shape) for shape in engine.get_tensor_profile_shape(name, 0)]
    if any(len(shape) != 4 for shape in shapes):
        raise EngineError(f"the plan's input is no nchw tile but {shapes[-1]}: build it from a DMN package")
    least, best, most = shapes
    return TileProfile(least, best, most)  # type: ignore[arg-type]


def _names(engine: Engine, api: Api) -> tuple[list[str], list[str]]:
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    inputs = [name for name in names if engine.get_tensor_mode(name) == api.TensorIOMode.INPUT]
    outputs = [name for name in names if engine.get_tensor_mode(name) == api.TensorIOMode.OUTPUT]
    if (len(inputs), len(outputs)) != (1, 1):
        raise EngineError(
            f"a plan has one input and one output, this one has {len(inputs)} and {len(outputs)}"
        )
    return inputs, outputs


def _dtype(engine: Engine, api: Api, name: str) -> np.dtype[np.float16] | np.dtype[np.float32]:
    kind = engine.get_tensor_dtype(name)
    if kind == api.DataType.FLOAT:
        return np.dtype(np.float32)
    if kind == api.DataType.HALF:
        return np.dtype(np.float16)
    raise EngineError(f"the plan's tensor {name} is {kind}, float32 or float16 is wanted: build it again")


def _open_worker(loaded: LoadedPlan, api: Api, device: Device, profile: TileProfile, index: int) -> Worker:
    """Open a context on profile `index`, with memory for the largest batch."""
    engine = loaded.engine
    [image], [logits] = _names(engine, api)
    context = engine.create_execution_context()
    if context is None:
        raise GpuMemoryError(f"the GPU has not enough memory for the plan: {loaded.log.words()}")
    stream = device.stream()
    taken: list[DeviceMemory] = []
    try:
        chosen = context.set_optimization_profile_async(index, stream.handle)
        stream.synchronise()
        if not chosen or not context.set_input_shape(image, profile.most):
            raise EngineError(f"the plan refuses its own largest shape {profile.most}: {loaded.log.words()}")
        ports = (
            Port(image, _dtype(engine, api, image), profile.most),
            Port(logits, _dtype(engine, api, logits), tuple(context.get_tensor_shape(logits))),
        )
        _check_output(ports[1].most, profile)
        buffers = []
        for port in ports:
            taken.append(device.device_memory(port.most_bytes))
            buffers.append(Buffer(port, taken[-1], device.host_memory))
            if not context.set_tensor_address(port.name, buffers[-1].device.address):
                raise EngineError(f"the plan has no tensor {port.name}: {loaded.log.words()}")
        return Worker(context, stream, *buffers)
    except BaseException:
        for memory in taken:
            memory.free()
        stream.close()
        raise


def _check_output(shape: tuple[int, ...], profile: TileProfile) -> None:
    """Hold the output to one logit a pixel: only then is what the padding adds cut off again."""
    if len(shape) != 4 or (shape[0], *shape[2:]) != (profile.most[0], *profile.most[2:]):
        raise EngineError(
            f"the plan gives {shape} for tiles of {profile.most}: a logit for each pixel is wanted"
        )
