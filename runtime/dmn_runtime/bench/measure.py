"""Measure a package on this machine: rounds of network alone, kernels alone, whole runs and ceilings.

Everything takes turns within a round, so that a machine that drifts costs all alike.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TypeVar

from dmn_runtime.bench.ceilings import CeilingFault, Load, algebra_words, ceilings_in_child, copy_words
from dmn_runtime.bench.clocked import Seconds, seconds_for_all
from dmn_runtime.bench.gathered import SAMPLE, Gathered, gather_tiles
from dmn_runtime.bench.gpu_ceilings import copy_on_gpu
from dmn_runtime.bench.kernels import time_gather, time_scatter
from dmn_runtime.bench.load import busy_sentence, load_average
from dmn_runtime.bench.on_gpu import alone_on_gpu, gpu_engine
from dmn_runtime.bench.phantom_volume import QUICK_SHAPE, SHAPE, VOXEL_NM, write_phantom
from dmn_runtime.bench.product import Ceiling, engine_ceiling
from dmn_runtime.bench.result import Bench, EngineFacts, VolumeFacts
from dmn_runtime.bench.rounds import Alone, Ceilings, EndToEnd, Extent, Round
from dmn_runtime.clock import Clock
from dmn_runtime.contract_json import REFERENCE_PRECISION
from dmn_runtime.engines.base import Runner, Tiles
from dmn_runtime.engines.candidates import Candidate
from dmn_runtime.engines.catalogue import kind_of
from dmn_runtime.engines.choose import choose, open_best
from dmn_runtime.engines.examination import Wish, order_for
from dmn_runtime.errors import DmnError, EngineError, UsageError
from dmn_runtime.geometry import Spacing, Triple
from dmn_runtime.gpu.device import Device
from dmn_runtime.gpu.inquiry import visible_gpus
from dmn_runtime.inference import Watch, infer
from dmn_runtime.machine import machine_facts, possible_cores
from dmn_runtime.package import Package, open_package, resolve_package
from dmn_runtime.report import Report, versions
from dmn_runtime.setup import Options, Setup, engine_wish, lay_out, set_up
from dmn_runtime.stream import Threads
from dmn_runtime.volume.open import open_volume
from dmn_runtime.workforce import gather_workforce

_Found = TypeVar("_Found")

WINDOW_S = 0.5
QUICK_WINDOW_S = 0.1
SILENT = Watch(say=lambda _: None, begin=lambda _: None, advance=lambda _: None)

CeilingsMeter = Callable[[Load], Ceilings]
ProductMeter = Callable[[Candidate, int, float], Ceiling]
CopyMeter = Callable[[Device], float]


@dataclass(frozen=True)
class BenchOptions:
    """What the user asked for; the words of `dmn bench`.

    `volume` None makes a phantom; `workers` None takes one for each core; `rounds` None takes 3, or 1 if
    `quick`.
    """

    package: str
    volume: str | None = None
    voxel_nm: Spacing | None = None
    engine: str = "auto"
    precision: str = "auto"
    workers: int | None = None
    tile_px: int | None = None
    block: Triple | None = None
    rounds: int | None = None
    quick: bool = False


@dataclass(frozen=True)
class Tools:
    """What time and ceilings are measured with.

    `ceilings`: NumPy's, on the processor. `product`: the engine's own, of candidate, workers and seconds.
    `gpu_copy`: bytes per second.
    """

    seconds: Seconds = perf_counter
    ceilings: CeilingsMeter = ceilings_in_child
    product: ProductMeter = engine_ceiling
    gpu_copy: CopyMeter = copy_on_gpu


def run_bench(options: BenchOptions, say: Callable[[str], None], tools: Tools | None = None) -> Bench:
    """Measure, which takes a few runs of the volume.

    Args:
        options: the user's words.
        say: takes sentences for people.
        tools: other clocks, for tests.

    Raises:
        DmnError: bad input; nothing is left behind.
    """
    count = _rounds(options)
    load = load_average()  # before this measurement is a load of its own
    busy = busy_sentence(load, possible_cores())
    if busy is not None:
        say(f"warning: {busy}")
    package = open_package(resolve_package(options.package))
    with TemporaryDirectory(prefix="dmn-bench-") as folder, _volume(options, Path(folder), say) as volume:
        run = _options(options, volume, Path(folder) / "seg.ome.zarr")
        return _measured(options, run, package, count, load, say, tools or Tools())


def _rounds(options: BenchOptions) -> int:
    count = (1 if options.quick else 3) if options.rounds is None else options.rounds
    if count < 1:
        raise UsageError(f"--rounds {count} measures nothing: give at least 1")
    return count


@contextmanager
def _volume(options: BenchOptions, folder: Path, say: Callable[[str], None]) -> Iterator[str]:
    """Offer the path of the volume, made first where the user gives none."""
    if options.volume is not None:
        yield options.volume
        return
    path = folder / "phantom.ome.tif"
    shape = QUICK_SHAPE if options.quick else SHAPE
    say(f"making a phantom of {' x '.join(map(str, shape))} voxels to measure on")
    write_phantom(path, shape, options.voxel_nm or VOXEL_NM)
    yield str(path)


def _options(options: BenchOptions, volume: str, output: Path) -> Options:
    return Options(
        package=options.package,
        volume=volume,
        output=output,
        voxel_nm=options.voxel_nm,
        tile_px=options.tile_px,
        block=options.block,
        workers=options.workers,
        engine=options.engine,
        precision=options.precision,
    )


def _measured(
    options: BenchOptions,
    run: Options,
    package: Package,
    count: int,
    load: float | None,
    say: Callable[[str], None],
    tools: Tools,
) -> Bench:
    """Choose the engine, run end to end once, then measure the rounds.

    The first run warms up, and tells the memory of a run while nothing else is held.
    """
    measured = datetime.now(UTC).isoformat(timespec="seconds")
    wish = engine_wish(run)
    with open_volume(run.volume, voxel_nm=run.voxel_nm) as volume:
        layout = lay_out(run, package.contract, volume, wish.workers)
        choice, runner = open_best(package, choose(package, wish, say), wish, say)
        runner.close()
        chosen = asdict(choice.candidate)
        run, wish = replace(run, **chosen), replace(wish, **chosen)
        first = _infer(run, say)
        setup = set_up(run, package, volume, layout, choice, wish.workers)
        turns = _Turns(setup, wish, QUICK_WINDOW_S if options.quick else WINDOW_S, say, tools)
        rounds = tuple(turns.round() for _ in range(count))
        assert turns.extent is not None  # there was a round
    return Bench(
        measured=measured,
        quick=options.quick,
        machine=machine_facts(),
        gpus=tuple(gpu.name for gpu in visible_gpus()),
        versions=versions(),
        load_average=load,
        package=first.package,
        multiply_adds_per_px=package.contract.multiply_adds_per_px,
        engine=EngineFacts(
            **chosen,
            on_gpu=kind_of(choice.candidate.engine).on_gpu,
            description=first.engine,
            reason=choice.reason,
            asked_engine=options.engine,
            asked_precision=options.precision,
        ),
        volume=_facts(first, made=options.volume is None),
        plan=first.plan,
        workers=first.workers,
        threads=turns.threads,
        extent=turns.extent,
        ceilings=turns.ceiling_words,
        peak_rss_bytes=first.peak_rss_bytes,
        rounds=rounds,
    )


def _facts(report: Report, *, made: bool) -> VolumeFacts:
    given = report.input
    return VolumeFacts(
        name="phantom" if made else given.name,
        format=given.format,
        shape=given.shape,
        dtype=given.dtype,
        voxel_nm=given.voxel_nm,
        working_voxel_nm=report.grids.working_voxel_nm,
        fingerprint=None if made else given.fingerprint,
    )


def _infer(run: Options, say: Callable[[str], None]) -> Report:
    # A new place each time: to delete a former output is no part of a run.
    with TemporaryDirectory(dir=run.output.parent) as folder:
        report = infer(replace(run, output=Path(folder, run.output.name)), replace(SILENT, say=say))
    assert report is not None  # only a resumed run has nothing to report
    return report


class _Turns:
    """Measures everything in turns, a round a call; `threads` and `extent` are known after the first."""

    threads: Threads

    def __init__(
        self, setup: Setup, wish: Wish, window_s: float, say: Callable[[str], None], tools: Tools
    ) -> None:
        self.setup = setup
        self.wish = wish
        self.window_s = window_s
        self.say = say
        self.tools = tools
        self.extent: Extent | None = None
        self.ceiling_words = ""
        self._gathered: Gathered | None = None
        self._told: set[str] = set()

    def round(self) -> Round:
        """Measure everything once; the run end to end opens the engine itself and has the machine alone."""
        alone, device = self._alone()
        ceilings = self._ceilings(device)
        self.extent = _same(self.extent, alone.extent)
        report = _infer(self.setup.options, _unheard)
        assert report.first_tile_s is not None  # it had all tiles to do
        end_to_end = EndToEnd(
            report.voxels, report.wall_s, report.first_tile_s, report.busy_s, report.queues, report.gpu
        )
        return Round(alone.network_only_s, alone.gather, alone.scatter, end_to_end, ceilings)

    def _alone(self) -> tuple[Alone, Device | None]:
        """Measure network and kernels; tell the GPU that they were on. The engine is closed again."""
        candidate = self.setup.choice.candidate
        order = order_for(self.setup.package, candidate, self.wish, _unheard)
        with ExitStack() as opened:
            runner = kind_of(candidate.engine).open(order)
            opened.callback(runner.close)
            force = gather_workforce(self.setup, runner, Clock(), _unheard)
            opened.callback(force.engine.close)
            self.threads = force.threads
            engine = gpu_engine(force.engine)
            if engine is not None:
                return alone_on_gpu(engine, self.setup), engine.runner.device
            return self._on_processor(runner), None

    def _on_processor(self, runner: Runner) -> Alone:
        workers, window_s, seconds = self.wish.workers, self.window_s, self.tools.seconds
        gathered = self._tiles()
        tiles = gathered.tiles
        seconds_for_all(tiles[:workers], runner.run, workers, seconds)  # the first calls allocate
        logits: dict[int, Tiles] = {}

        def segment(index: int) -> None:
            out = runner.run(tiles[index])
            if index < SAMPLE:
                logits[index] = out

        return Alone(
            gathered.extent,
            seconds_for_all(range(len(tiles)), segment, workers, seconds),
            time_gather(gathered, workers, window_s, seconds),
            time_scatter(list(logits.values()), gathered.footprint, workers, window_s, seconds),
        )

    def _tiles(self) -> Gathered:
        """Return the tiles, gathered once for all rounds."""
        if self._gathered is None:
            setup = self.setup
            table = setup.intensity.table(setup.volume.dtype)
            self._gathered = gather_tiles(setup.volume.read, setup.plan, table)
            if not self._gathered.whole:
                self.say(
                    f"the network alone and the kernels alone run on {self._gathered.extent.tiles} of the "
                    f"volume's {setup.plan.tile_count()} tiles: more do not fit into memory at once"
                )
        return self._gathered

    def _ceilings(self, device: Device | None) -> Ceilings:
        """Measure what the machine can do at most, where network and kernels ran; nothing is open."""
        candidate, workers = self.setup.choice.candidate, self.wish.workers
        engine = self._had("the engine's matrix product", self._product)
        if device is not None:
            copy = self._had("the GPU's copy", lambda: self.tools.gpu_copy(device))
            found = Ceilings(copy, None, None)
            words = ["no copy was measured" if copy is None else "copy by the GPU's own threads"]
        else:
            numpy = self._had("NumPy's ceilings", lambda: self.tools.ceilings(Load(workers, self.window_s)))
            found = numpy or Ceilings(None, None, None)
            words = ["no copy was measured" if numpy is None else copy_words()]
        if kind_of(candidate.engine).on_gpu:  # whose network no product of the processor speaks of
            found = replace(found, matmul_1_thread_macs_per_s=None, matmul_all_threads_macs_per_s=None)
        words.append(self._product_words(engine, found))
        self.ceiling_words = "; ".join(words)
        return replace(found, engine_matmul_macs_per_s=None if engine is None else engine.macs_per_s)

    def _product(self) -> Ceiling:
        return self.tools.product(self.setup.choice.candidate, self.wish.workers, self.window_s)

    def _product_words(self, engine: Ceiling | None, found: Ceilings) -> str:
        """Say which products were measured; the network's share is of the first."""
        by_numpy = found.matmul_all_threads_macs_per_s is not None
        words = [] if engine is None else [f"the engine's product: {engine.words}"]
        words += [algebra_words(self.wish.workers)] if by_numpy else []
        precision = self.setup.choice.candidate.precision
        if engine is None and by_numpy and precision != REFERENCE_PRECISION:
            words.append(f"{precision} arithmetic is shorter and may exceed 100 % of it")
        return "; ".join(words) or "no matrix product was measured"

    def _had(self, what: str, measure: Callable[[], _Found]) -> _Found | None:
        """Return what is measured, or None, aloud once."""
        try:
            return measure()
        except (CeilingFault, DmnError) as fault:
            sentence = f"warning: {what} cannot be measured: {' '.join(str(fault).split())}"
            if sentence not in self._told:
                self.say(sentence)
                self._told.add(sentence)
            return None


def _same(known: Extent | None, found: Extent) -> Extent:
    """Return the extent of another round, which must be that of the first: the figures share it.

    Raises:
        EngineError: it is not, since a GPU with less memory was given smaller tiles.
    """
    if known is not None and found != known:
        raise EngineError(
            f"the network alone ran on {known.tiles} tiles ({known.px} px) in one round and on {found.tiles} "
            f"({found.px} px) in another, since the GPU's free memory changed between them: close other "
            "programs that use the GPU, and measure again"
        )
    return found


def _unheard(_: str) -> None:
    """Take a sentence that the first run has said already."""
