"""The fused kernels, version by version: checked against their twins, then timed beside a plain copy.

.venv/bin/python benchmarks/kernels/ladder.py --json ladder.json      on a machine with a GPU
.venv/bin/python benchmarks/kernels/ladder.py --dry-run               compile and check, without a GPU
.venv/bin/python benchmarks/kernels/ladder.py --save-fatbin FILE      compile here, to measure elsewhere with
.venv/bin/python benchmarks/kernels/ladder.py --fatbin FILE           where there is no nvcc
.venv/bin/python benchmarks/kernels/ladder.py --sanitizer             memcheck and racecheck over the checks

ladder.cu lists the versions. Every version at every block size must give what the twin gives before it is
timed, on a small volume with edges everywhere and on the one that is timed: random voxels and logits, slices
of 2048 x 2048 px in tiles of 1152 px with a halo of 64. Before each timing the L2 cache is flushed; figures
are medians with quartiles. Bandwidth counts each byte once that must be read or written; the copy moves as
many bytes, half of them in, half out.

Exit status 2: a wrong argument or a missing tool, 1: a version is wrong.
"""

import argparse
import importlib.util
import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.errors import DmnError, UsageError
from dmn_runtime.geometry import Triple, whole
from dmn_runtime.gpu.device import Device, DeviceMemory, Kernel, Module, Stream
from dmn_runtime.gpu.kernels import (
    COPY_NAME,
    THREADS_A_BLOCK,
    Images,
    Kernels,
    Part,
    gather_name,
    launch_copy,
    launch_gather,
    launch_scatter,
    lay_threads,
    scatter_name,
)
from dmn_runtime.gpu.open import open_device
from dmn_runtime.gpu.sheet import Slab, lay_sheets
from dmn_runtime.gpu.slabs import cut_slabs
from dmn_runtime.gpu.twins import gather_batch, scatter_batch
from dmn_runtime.plan import Footprint
from dmn_runtime.whole_file import whole_file

HERE = Path(__file__).parent
SOURCE = HERE / "ladder.cu"
SHIM = HERE.parents[1] / "tests" / "runtime" / "gpu"
U8, F16 = np.dtype(np.uint8), np.dtype(np.float16)
GATHER, SCATTER = gather_name(U8, F16, "nchw"), scatter_name(F16, "nchw")
RUBBISH = 0xA5
FLUSH_BYTES = 1 << 29
"""More than twice the largest L2 cache."""
MOST_SLICES = 32
"""As many as the memory of the flush can copy at once."""
WARM_UPS = 3
MOST_SHARE_APART = 0.01
"""Of the grey levels that may be one beside the twin's."""
GREY_THRESHOLD = 128
EXIT_WRONG = 1
EXIT_USAGE = 2


@dataclass(frozen=True)
class Rung:
    """A version. `pack`: pixels that a thread owns."""

    kernel: str
    pack: int
    idea: str


GATHERS = (
    Rung("ladder_gather_1", 1, "a thread a pixel"),
    Rung("ladder_gather_2", 8, "wide stores"),
    Rung("ladder_gather_3", 8, "wide loads"),
    Rung(GATHER, 8, "table in shared memory"),
)
SCATTERS = (
    Rung("ladder_scatter_1", 1, "a thread a pixel"),
    Rung("ladder_scatter_2", 8, "wide loads and stores"),
    Rung(SCATTER, 8, "fast arithmetic"),
)


@dataclass(frozen=True)
class Workload:
    """One slab in one geometry, with random contents.

    Attributes:
        slab: its tiles.
        sheets: of its batches.
        images: of the gather's batch.
        logits: of every batch, float16 nchw with one channel.
        patch: uint8 zyx, rows padded to the pitch.
        table: float16, 256 entries.
    """

    slab: Slab
    sheets: tuple[NDArray[np.int32], ...]
    images: Images
    logits: NDArray[np.float16]
    patch: NDArray[np.uint8]
    table: NDArray[np.float16]

    @property
    def logit_images(self) -> Images:
        """What `logits` holds."""
        return Images(self.images.count, 1, self.images.height, self.images.width, F16)

    @property
    def gather_bytes(self) -> int:
        """Bytes that a gather of all tiles must move: each voxel in once, each pixel out."""
        used = sum(int(sheet[13]) for sheet in self.sheets)
        return self.slab.patch.size + used * self.images.nbytes // self.images.count

    @property
    def scatter_bytes(self) -> int:
        """Bytes that a scatter of all cores must move, without a mask."""
        return self.slab.core.size * (F16.itemsize + 1)


def make_workload(volume: Triple, edge_px: int, footprint: Footprint, batch: int) -> Workload:
    """Cut a whole volume into tiles of `edge_px` and fill it."""
    rng = np.random.default_rng(5)
    [slab] = cut_slabs(whole(volume), volume, footprint, edge_px, volume[0])
    sheets = lay_sheets(slab, volume, footprint, batch)
    depth, rows, _ = slab.patch.shape
    return Workload(
        slab=slab,
        sheets=sheets,
        images=Images(batch, 2 * footprint.context_slices + 1, edge_px, edge_px, F16),
        logits=(rng.standard_normal((batch, 1, edge_px, edge_px), np.float32) * 4).astype(np.float16),
        patch=rng.integers(0, 256, (depth, rows, slab.pitch), np.uint8),
        table=rng.normal(size=256).astype(np.float16),
    )


def small_workload() -> Workload:
    """Return a volume that is all edges: odd sizes, context slices, a last batch that is not full."""
    return make_workload((3, 37, 61), 40, Footprint(4, 8, 1), 5)


def timed_workload(slices: int) -> Workload:
    """Return the volume that is timed, four tiles a slice, all in one batch."""
    return make_workload((slices, 2048, 2048), 1152, Footprint(16, 64, 0), 4 * slices)


@dataclass(frozen=True)
class Rerouted:
    """A stream that launches another version, on other threads, with the arguments of the launcher."""

    stream: Stream
    kernel: Kernel
    threads: tuple[Triple, Triple]

    def launch(self, _kernel: Kernel, _grid: Triple, _block: Triple, arguments: Any) -> None:
        """Launch the version."""
        self.stream.launch(self.kernel, *self.threads, arguments)


@dataclass(frozen=True)
class Bench:
    """A device with the ladder's kernels; `open_bench` makes one."""

    device: Device
    module: Module
    stream: Stream
    kept: ExitStack

    @property
    def kernels(self) -> Kernels:
        """What the launchers look names up in."""
        return Kernels(self.module, {name: self.module.kernel(name) for name in (GATHER, SCATTER, COPY_NAME)})

    def take(self, nbytes: int) -> DeviceMemory:
        """Return device memory that the bench gives back."""
        memory = self.device.device_memory(nbytes)
        self.kept.callback(memory.free)
        return memory

    def put(self, array: NDArray[Any], memory: DeviceMemory | None = None) -> DeviceMemory:
        """Copy an array to the device, now."""
        target = self.take(array.nbytes) if memory is None else memory
        pinned = self.device.host_memory(array.nbytes)
        pinned.data[:] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        self.stream.upload(pinned, target, array.nbytes)
        self.stream.synchronise()
        pinned.free()
        return target

    def fetch(self, memory: DeviceMemory, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Copy device memory into a new array, now."""
        pinned = self.device.host_memory(memory.nbytes)
        self.stream.download(memory, pinned, memory.nbytes)
        self.stream.synchronise()
        array: NDArray[Any] = pinned.data.view(dtype)[: int(np.prod(shape))].reshape(shape).copy()
        pinned.free()
        return array


@contextmanager
def open_bench(device: Device, fatbin: bytes) -> Iterator[Bench]:
    """Load the ladder onto a device."""
    with ExitStack() as kept:
        device.make_current()
        module = device.load(fatbin)
        kept.callback(module.close)
        stream = device.stream()
        kept.callback(stream.close)
        yield Bench(device, module, stream, kept)


@dataclass(frozen=True)
class Laid:
    """A workload on the device, with what the twins make of it."""

    bench: Bench
    work: Workload
    patch: DeviceMemory
    table: DeviceMemory
    logits: DeviceMemory
    sheets: tuple[DeviceMemory, ...]
    batch: DeviceMemory
    output: DeviceMemory

    def gather(self, rung: Rung, threads: int, sheet: DeviceMemory) -> None:
        """Enqueue a version of gather."""
        images = self.work.images
        planes = images.count * images.channels
        lay = lay_threads(images.width, images.height, planes, rung.pack, threads)
        stream: Any = Rerouted(self.bench.stream, self.bench.module.kernel(rung.kernel), lay)
        buffers = (self.patch, sheet, self.table, self.batch)
        launch_gather(stream, self.bench.kernels, *buffers, images, U8)

    def scatter(self, rung: Rung, threads: int, sheet: DeviceMemory) -> None:
        """Enqueue a version of scatter."""
        images = self.work.logit_images
        lay = lay_threads(images.width, images.height, images.count, rung.pack, threads)
        stream: Any = Rerouted(self.bench.stream, self.bench.module.kernel(rung.kernel), lay)
        buffers = (self.logits, sheet, self.output, None)
        launch_scatter(stream, self.bench.kernels, *buffers, images, GREY_THRESHOLD)


def lay(bench: Bench, work: Workload) -> Laid:
    """Bring a workload to the device."""
    return Laid(
        bench=bench,
        work=work,
        patch=bench.put(work.patch),
        table=bench.put(work.table),
        logits=bench.put(work.logits),
        sheets=tuple(bench.put(sheet) for sheet in work.sheets),
        batch=bench.take(work.images.nbytes),
        output=bench.take(work.slab.core.size),
    )


def gather_fault(laid: Laid, rung: Rung, threads: int) -> str | None:
    """Say where a version of gather differs from the twin, or None."""
    work, images = laid.work, laid.work.images
    shape = (images.count, images.channels, images.height, images.width)
    for sheet, on_device in zip(work.sheets, laid.sheets, strict=True):
        wanted = np.full(images.nbytes, RUBBISH, np.uint8)
        laid.bench.put(wanted, laid.batch)
        used = int(sheet[13])
        wanted.view(F16).reshape(shape)[:used] = gather_batch(work.patch, sheet, work.table, *shape[1:])
        laid.gather(rung, threads, on_device)
        got = laid.bench.fetch(laid.batch, wanted.shape, U8)
        if not np.array_equal(got, wanted):
            return f"{np.count_nonzero(got != wanted)} of {wanted.size} bytes of the batch are not the twin's"
    return None


def scatter_fault(laid: Laid, rung: Rung, threads: int) -> str | None:
    """Say where a version of scatter differs from the twin, or None."""
    work = laid.work
    wanted = np.full(work.slab.core.shape, RUBBISH, np.uint8)
    laid.bench.put(wanted, laid.output)
    for sheet, on_device in zip(work.sheets, laid.sheets, strict=True):
        scatter_batch(work.logits, sheet, wanted)
        laid.scatter(rung, threads, on_device)
    apart = np.abs(laid.bench.fetch(laid.output, wanted.shape, U8).astype(np.int16) - wanted)
    if apart.max() > 1 or np.count_nonzero(apart) > MOST_SHARE_APART * apart.size:
        told = f"{np.count_nonzero(apart)} of {apart.size} grey levels are not the twin's"
        return f"{told}, by up to {apart.max()}"
    return None


def check_all(laid: Laid, blocks: tuple[int, ...]) -> list[str]:
    """Check every version at every block size; print each, return the faults."""
    faults = []
    for rungs, fault_of in ((GATHERS, gather_fault), (SCATTERS, scatter_fault)):
        for rung in rungs:
            for threads in blocks:
                fault = fault_of(laid, rung, threads)
                where = f"{rung.kernel} on blocks of {threads}, volume {laid.work.slab.core.shape}"
                print(f"{'wrong' if fault else 'right'}  {where}" + (f": {fault}" if fault else ""))
                faults += [f"{where}: {fault}"] if fault else []
    return faults


@dataclass(frozen=True)
class Figure:
    """What was measured of one version at one block size; seconds are median and quartiles."""

    kernel: str
    idea: str
    threads_a_block: int
    bytes_moved: int
    median_s: float
    lower_s: float
    upper_s: float
    gb_per_s: float
    percent_of_copy: float


def seconds_of(
    stream: Stream, flush: Callable[[], None], launch: Callable[[], None], repeats: int
) -> list[float]:
    """Time a launch `repeats` times on the device, the L2 cache flushed before each."""
    marks = []
    for turn in range(WARM_UPS + repeats):
        flush()
        before = stream.mark()
        launch()
        marks.append((before, stream.mark()))
        if turn < WARM_UPS:
            stream.synchronise()
    stream.synchronise()
    spans = [after.seconds_since(before) for before, after in marks]
    for before, after in marks:
        before.close()
        after.close()
    return spans[WARM_UPS:]


def measure(laid: Laid, blocks: tuple[int, ...], repeats: int) -> list[Figure]:
    """Time every version at every block size, and the copy of as many bytes."""
    bench, work = laid.bench, laid.work
    [sheet] = laid.sheets  # the bytes are those of one batch
    room = bench.take(FLUSH_BYTES)
    bench.put(np.random.default_rng(6).integers(0, 256, FLUSH_BYTES // 2, np.uint8), room)
    flush = partial(_copy, bench, room, FLUSH_BYTES, THREADS_A_BLOCK)
    figures = []
    for rungs, enqueue, moved in (
        (GATHERS, laid.gather, work.gather_bytes),
        (SCATTERS, laid.scatter, work.scatter_bytes),
    ):
        copies = {
            n: seconds_of(bench.stream, flush, partial(_copy, bench, room, moved, n), repeats) for n in blocks
        }
        best_s = min(float(np.median(seconds)) for seconds in copies.values())
        copy = Rung(COPY_NAME, 16, "the ceiling")
        figures += [_figure(copy, n, moved, seconds, best_s) for n, seconds in copies.items()]
        for rung in rungs:
            for n in blocks:
                launch = partial(enqueue, rung, n, sheet)
                seconds = seconds_of(bench.stream, flush, launch, repeats)
                figures.append(_figure(rung, n, moved, seconds, best_s))
    return figures


def _copy(bench: Bench, room: DeviceMemory, nbytes: int, threads: int) -> None:
    """Copy the first `nbytes` / 2 to the second half of `room`."""
    if nbytes > FLUSH_BYTES:
        raise ValueError(f"a copy that moves {nbytes} bytes inside {FLUSH_BYTES}")
    source, target = (Part(room.address + i * (FLUSH_BYTES // 2), FLUSH_BYTES // 2) for i in (0, 1))
    launch_copy(bench.stream, bench.kernels, source, target, nbytes // 2, threads)


def _figure(rung: Rung, threads: int, moved: int, seconds: list[float], copy_s: float) -> Figure:
    lower, median, upper = (float(each) for each in np.percentile(seconds, [25, 50, 75]))
    return Figure(
        kernel=rung.kernel,
        idea=rung.idea,
        threads_a_block=threads,
        bytes_moved=moved,
        median_s=median,
        lower_s=lower,
        upper_s=upper,
        gb_per_s=moved / median / 1e9,
        percent_of_copy=100 * copy_s / median,
    )


def table_of(figures: list[Figure]) -> str:
    """Return the figures as text."""
    words = ("kernel", "idea", "block", "median us", "quartiles us", "GB/s", "% of copy")
    head = "{:24} {:24} {:>5} {:>10} {:>17} {:>7} {:>9}".format(*words)
    rows = [
        f"{f.kernel:24} {f.idea:24} {f.threads_a_block:5} {f.median_s * 1e6:10.1f} "
        f"{f.lower_s * 1e6:8.1f}-{f.upper_s * 1e6:<8.1f} {f.gb_per_s:7.0f} {f.percent_of_copy:9.1f}"
        for f in figures
    ]
    return "\n".join([head, *rows])


def main(words: list[str] | None = None) -> int:
    """Do what the arguments say; return the exit status."""
    given = _parser().parse_args(words)
    try:
        return _run(given, _checked_blocks(given.blocks), _checked_targets(given.targets))
    except DmnError as error:
        print(f"ladder.py: {error}", file=sys.stderr)
        return EXIT_USAGE


def _parser() -> argparse.ArgumentParser:
    # Without a usage line, what argparse refuses is told in one sentence.
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, usage=argparse.SUPPRESS
    )
    parser.add_argument("--blocks", default="64,128,256", help="threads of a block, in turn")
    parser.add_argument("--repeats", type=int, default=50, help="timings of each version")
    parser.add_argument("--slices", type=int, default=8, help="of the volume that is timed")
    parser.add_argument("--targets", help="what to compile for, as sm_90,compute_75 (default: all)")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--fatbin", type=Path, help="take this one instead of compiling")
    parser.add_argument("--save-fatbin", type=Path, help="compile into this file, and no more")
    parser.add_argument("--check-only", action="store_true", help="no timing")
    parser.add_argument("--dry-run", action="store_true", help="compile, and check on the CPU")
    parser.add_argument("--sanitizer", action="store_true", help="run compute-sanitizer over the checks")
    return parser


def _run(given: argparse.Namespace, blocks: tuple[int, ...], targets: tuple[str, ...] | None) -> int:
    if given.repeats < 5 or not 1 <= given.slices <= MOST_SLICES:
        raise UsageError(
            f"{given.repeats} repeats and {given.slices} slices: give at least 5, and 1 to {MOST_SLICES}"
        )
    if given.json is not None and not given.json.absolute().parent.is_dir():
        raise UsageError(
            f"there is no folder {given.json.absolute().parent} for {given.json.name}: make it first"
        )
    if given.sanitizer:
        return _sanitize(given)
    fatbin = _fatbin(given.fatbin, targets)
    if given.save_fatbin is not None:
        with whole_file(given.save_fatbin, "fatbin") as partial_file:
            partial_file.write_bytes(fatbin)
        return 0
    with open_bench(_device_on_cpu() if given.dry_run else open_device(), fatbin) as bench:
        print(f"{bench.device.description}, ladder of {len(fatbin)} bytes")
        faults = check_all(lay(bench, small_workload()), blocks[:1] if given.dry_run else blocks)
        if given.dry_run or faults:
            return EXIT_WRONG if faults else 0
        laid = lay(bench, timed_workload(given.slices))
        faults = check_all(laid, blocks)
        if given.check_only or faults:
            return EXIT_WRONG if faults else 0
        figures = measure(laid, blocks, given.repeats)
        print(table_of(figures))
        if given.json is not None:
            _write(given.json, bench.device.description, fatbin, given.repeats, figures)
    return 0


def _write(path: Path, device: str, fatbin: bytes, repeats: int, figures: list[Figure]) -> None:
    document = {
        "device": device,
        "fatbin_sha256": sha256(fatbin).hexdigest(),
        "repeats": repeats,
        "l2_flush_bytes": FLUSH_BYTES,
        "figures": [asdict(figure) for figure in figures],
    }
    with whole_file(path, "figures") as partial_file:
        partial_file.write_text(json.dumps(document, indent=2) + "\n")


def _fatbin(path: Path | None, targets: tuple[str, ...] | None) -> bytes:
    if path is None:
        builder = _import(HERE / "build.py")
        compiled: bytes = builder.compile_kernels(SOURCE, targets or builder.TARGETS).fatbin
        return compiled
    if not path.is_file():
        raise UsageError(f"there is no fatbin {path}: make it with --save-fatbin")
    return path.read_bytes()


def _device_on_cpu() -> Device:
    """Return the tests' device, on which the ladder runs through their shim."""
    shim = _import(SHIM / "shim" / "shim.py").compiled(SOURCE, "-O1")
    kernels = {name: partial(shim.launch, name) for name in shim.names}
    device: Device = _import(SHIM / "numpy_device.py").NumpyDevice(kernels=kernels)
    return device


def _sanitize(given: argparse.Namespace) -> int:
    program = shutil.which("compute-sanitizer")
    checks = [sys.executable, str(Path(__file__)), "--check-only", "--blocks", given.blocks, "--slices", "1"]
    checks += [] if given.fatbin is None else ["--fatbin", str(given.fatbin)]
    commands = [
        [program or "compute-sanitizer", "--tool", tool, "--error-exitcode", "1", *checks]
        for tool in ("memcheck", "racecheck")
    ]
    print("\n".join(map(shlex.join, commands)), flush=True)
    if given.dry_run:
        return 0
    if program is None:
        raise UsageError("compute-sanitizer is not there: it comes with the CUDA toolkit")
    return max(subprocess.run(command, check=False).returncode for command in commands)


def _checked_blocks(words: str) -> tuple[int, ...]:
    blocks = tuple(int(word) if word.isdecimal() else 0 for word in words.split(","))
    if any(n not in (32, 64, 128, 256) for n in blocks):
        raise UsageError(f"--blocks {words}: give some of 32, 64, 128 and 256, with commas between")
    return blocks


def _checked_targets(words: str | None) -> tuple[str, ...] | None:
    known = _import(HERE / "build.py").TARGETS
    targets = None if words is None else tuple(words.split(","))
    if targets is not None and not set(targets) <= set(known):
        raise UsageError(f"--targets {words}: give some of {', '.join(known)}, with commas between")
    return targets


def _import(path: Path) -> ModuleType:
    """Import a file that belongs to no package, once."""
    title = f"dmn_ladder_{path.stem}"
    if title not in sys.modules:
        spec = importlib.util.spec_from_file_location(title, path)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[title] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[title])
    return sys.modules[title]


if __name__ == "__main__":
    sys.exit(main())
