"""Measure a package on this machine: rounds of network alone, kernels alone, whole runs and ceilings.

Everything takes turns within a round, so that a machine that drifts costs all alike.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from dmn_runtime.bench.ceilings import CeilingFault, Load, algebra_words, ceilings_in_child
from dmn_runtime.bench.clocked import Seconds, seconds_for_all
from dmn_runtime.bench.gathered import SAMPLE, Gathered, gather_tiles
from dmn_runtime.bench.kernels import DeviceBench, device_bench, time_gather, time_scatter
from dmn_runtime.bench.load import busy_sentence, load_average
from dmn_runtime.bench.phantom_volume import QUICK_SHAPE, SHAPE, VOXEL_NM, write_phantom
from dmn_runtime.bench.result import Bench, EngineFacts, VolumeFacts
from dmn_runtime.bench.rounds import Ceilings, EndToEnd, Rate, Round
from dmn_runtime.engines.base import Runner, Tiles
from dmn_runtime.engines.candidates import Candidate
from dmn_runtime.engines.catalogue import kind_of
from dmn_runtime.engines.choose import choose, open_best
from dmn_runtime.engines.examination import Wish, order_for
from dmn_runtime.errors import UsageError
from dmn_runtime.geometry import Spacing, Triple
from dmn_runtime.gpu.inquiry import visible_gpus
from dmn_runtime.inference import Watch, infer
from dmn_runtime.machine import machine_facts, possible_cores
from dmn_runtime.package import Package, open_package, resolve_package
from dmn_runtime.report import Report, versions
from dmn_runtime.setup import Options, engine_wish, lay_out
from dmn_runtime.volume.open import open_volume

WINDOW_S = 0.5
QUICK_WINDOW_S = 0.1
SILENT = Watch(say=lambda _: None, begin=lambda _: None, advance=lambda _: None)

CeilingsMeter = Callable[[Load], Ceilings]


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
    """What time and ceilings are measured with."""

    seconds: Seconds = perf_counter
    ceilings: CeilingsMeter = ceilings_in_child


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
        overwrite=True,
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
    """Choose the engine, run end to end once, gather the tiles, then measure the rounds.

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
        gathered = gather_tiles(volume.read, layout.plan, layout.intensity.table(volume.dtype))
    if not gathered.whole:
        say(
            f"the network alone and the kernels alone run on {gathered.extent.tiles} of the volume's "
            f"{layout.plan.tile_count()} tiles: more do not fit into memory at once"
        )
    turns = _Turns(package, wish, run, gathered, QUICK_WINDOW_S if options.quick else WINDOW_S, say, tools)
    rounds = tuple(turns.round() for _ in range(count))
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
        extent=gathered.extent,
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
    report = infer(run, replace(SILENT, say=say))
    assert report is not None  # only a resumed run has nothing to report
    return report


class _Turns:
    """Measures everything in turns, a round a call."""

    def __init__(
        self,
        package: Package,
        wish: Wish,
        run: Options,
        gathered: Gathered,
        window_s: float,
        say: Callable[[str], None],
        tools: Tools,
    ) -> None:
        self.package = package
        self.wish = wish
        self.run = run
        self.gathered = gathered
        self.window_s = window_s
        self.say = say
        self.tools = tools
        self.ceiling_words = algebra_words(wish.workers)

    def round(self) -> Round:
        """Measure everything once; the run end to end opens the engine itself and has the machine alone."""
        candidate = Candidate(self.wish.engine, self.wish.precision)
        order = order_for(self.package, candidate, self.wish, lambda _: None)
        runner = kind_of(candidate.engine).open(order)
        try:
            device = device_bench(runner)
            network_only_s, gather, scatter, ceilings = (
                self._on_processor(runner) if device is None else self._on_device(device)
            )
        finally:
            runner.close()
        report = _infer(self.run, lambda _: None)
        assert report.first_tile_s is not None  # it had all tiles to do
        end_to_end = EndToEnd(report.voxels, report.wall_s, report.first_tile_s, report.busy_s, report.queues)
        return Round(network_only_s, gather, scatter, end_to_end, ceilings)

    def _on_processor(self, runner: Runner) -> tuple[float, Rate, Rate, Ceilings | None]:
        workers, window_s, seconds = self.wish.workers, self.window_s, self.tools.seconds
        footprint, tiles = self.gathered.footprint, self.gathered.tiles
        seconds_for_all(tiles[:workers], runner.run, workers, seconds)  # the first calls allocate
        logits: dict[int, Tiles] = {}

        def segment(index: int) -> None:
            out = runner.run(tiles[index])
            if index < SAMPLE:
                logits[index] = out

        network_only_s = seconds_for_all(range(len(tiles)), segment, workers, seconds)
        gather = time_gather(self.gathered, workers, window_s, seconds)
        scatter = time_scatter(list(logits.values()), footprint, workers, window_s, seconds)
        return network_only_s, gather, scatter, self._ceilings()

    def _on_device(self, device: DeviceBench) -> tuple[float, Rate, Rate, Ceilings | None]:
        self.ceiling_words = device.ceiling_words()
        return (
            device.network_only_s(self.gathered),
            device.time_gather(self.gathered, self.window_s),
            device.time_scatter(self.gathered, self.window_s),
            device.ceilings(self.window_s),
        )

    def _ceilings(self) -> Ceilings | None:
        try:
            return self.tools.ceilings(Load(self.wish.workers, self.window_s))
        except CeilingFault as fault:
            self.say(f"warning: the machine's ceilings cannot be measured ({fault}), so no figure has them")
            return None
