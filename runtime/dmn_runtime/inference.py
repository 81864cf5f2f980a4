"""One run of inference: a package and a volume become a finished output with report and preview."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from math import prod
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from dmn_runtime._version import __version__
from dmn_runtime.contract import QUANTILE_PERCENTS, Contract
from dmn_runtime.drift import intensity_drift, share_drift
from dmn_runtime.engines.base import Engine
from dmn_runtime.engines.choose import open_engine
from dmn_runtime.errors import OutputError, UsageError
from dmn_runtime.geometry import Region, Spacing, Triple
from dmn_runtime.machine import logical_cores, machine_facts, peak_rss_bytes
from dmn_runtime.normalise import IntensityMap, fit_map, histogram, quantiles
from dmn_runtime.package import Package, open_package, resolve_package
from dmn_runtime.plan import Block, Footprint, Grid, Plan, make_plan
from dmn_runtime.preview import SliceStatistics, write_volume_preview
from dmn_runtime.report import (
    GridFacts,
    InputFacts,
    NormalisationFacts,
    PackageFacts,
    PlanFacts,
    Report,
    versions,
    write_report,
)
from dmn_runtime.seams import SeamCheck
from dmn_runtime.sink.base import Sink, SinkSpec
from dmn_runtime.sink.ledger import Ledger, LedgerHeader, block_crc
from dmn_runtime.sink.open import Start, discard_partial, open_sink, prepare_output
from dmn_runtime.sink.paths import OutputKind, final_paths, output_kind, probability_path
from dmn_runtime.source import read_working
from dmn_runtime.stream import Clock, Steps, run_stream, threads_for
from dmn_runtime.tiles import mask_of
from dmn_runtime.volume.base import Volume, Voxels
from dmn_runtime.volume.open import open_volume


@dataclass(frozen=True)
class Options:
    """What the user asked for; the words of `dmn infer`.

    `threshold` None takes the package's; `workers` None takes one for each CPU core.
    """

    package: str
    volume: str
    output: Path
    voxel_nm: Spacing | None = None
    grid: Grid = "volume"
    tile_px: int | None = None
    block: Triple | None = None
    workers: int | None = None
    threshold: float | None = None
    engine: str = "auto"
    resume: bool = False
    overwrite: bool = False
    check_seams: bool = False


@dataclass(frozen=True)
class Watch:
    """Who hears of a run while it goes on; may be called from several threads.

    `say` gets sentences for people, `begin` the number of output voxels to come, `advance` those just done.
    """

    say: Callable[[str], None]
    begin: Callable[[int], None]
    advance: Callable[[float], None]


@dataclass(frozen=True)
class Setup:
    """Everything that is decided before the first block is read."""

    options: Options
    package: Package
    volume: Volume
    counts: NDArray[np.int64]
    intensity: IntensityMap
    plan: Plan
    threshold: float
    workers: int
    spec: SinkSpec

    @property
    def output_share(self) -> float:
        """Output voxels for each working voxel, on average."""
        return prod(self.plan.output_shape) / prod(self.plan.working_shape)


def infer(options: Options, watch: Watch) -> Report | None:
    """Run inference and return the report, which also stands beside the output.

    Returns:
        None if a run was to be resumed whose output is complete.

    Raises:
        DmnError: bad input; nothing is left behind, unless finished blocks can be resumed.
        KeyboardInterrupt: the run was stopped.
    """
    started, begin_s = datetime.now(UTC), perf_counter()
    _refuse_input_as_output(options)
    package = open_package(resolve_package(options.package))
    with open_volume(options.volume, voxel_nm=options.voxel_nm) as volume:
        setup = _set_up(options, package, volume)
        start = prepare_output(options.output, overwrite=options.overwrite, resume=options.resume)
        if start is Start.COMPLETE:
            watch.say(f"{options.output} is complete already")
            return None
        drift = tuple(_drift(setup))
        for sentence in drift:
            watch.say(f"warning: {sentence}")
        run = _Run(setup, watch, begin_s)
        run.execute(start)
        statistics = _statistics_of(setup) if run.resumed else run.statistics
        share = share_drift(package.contract.domain, statistics.foreground_share)
        for sentence in share:
            watch.say(f"warning: {sentence}")
        report = _report(setup, run, statistics, started, (*drift, *share))
        write_report(report_path(options.output), report)
        _write_preview(setup, statistics)
    return report


def _refuse_input_as_output(options: Options) -> None:
    """Keep --overwrite from replacing the very volume that is read."""
    read = Path(options.volume.partition("::")[0]).resolve()
    for final in final_paths(options.output):
        if final.resolve() in (read, *read.parents):
            raise UsageError(f"{options.output} is, or holds, the volume that is read: choose another output")


def report_path(output: Path) -> Path:
    """Return where the report of `output` stands: seg.ome.zarr -> seg.report.json."""
    return output.with_name(f"{_stem(output)}.report.json")


def preview_path(output: Path) -> Path:
    """Return where the preview of `output` stands: seg.ome.zarr -> seg.preview.png."""
    return output.with_name(f"{_stem(output)}.preview.png")


def _stem(output: Path) -> str:
    suffix = next(s for s in output_kind(output).value if output.name.lower().endswith(s))
    return output.name[: -len(suffix)]


def _set_up(options: Options, package: Package, volume: Volume) -> Setup:
    contract = package.contract
    threshold = contract.threshold if options.threshold is None else options.threshold
    if not 0.0 < threshold < 1.0:
        raise UsageError(f"--threshold {threshold:g} is no probability: give a number between 0 and 1")
    workers = logical_cores() if options.workers is None else options.workers
    if workers < 1:
        raise UsageError(f"--workers {workers} cannot work: give at least 1")
    plan = make_plan(
        volume.shape,
        _known_voxel_nm(volume, contract),
        contract.working_voxel_nm,
        Footprint(contract.stride_px, contract.halo_px, contract.context_slices),
        grid=options.grid,
        tile_px=options.tile_px,
        block=options.block,
    )
    counts = histogram(volume)
    intensity = fit_map(counts, contract.normalisation, volume.path)
    voxel_nm = _grid_voxel_nm(volume, contract, options.grid)
    spec = SinkSpec(options.output, plan.output_shape, plan.block, voxel_nm, contract.classes, threshold)
    return Setup(options, package, volume, counts, intensity, plan, threshold, workers, spec)


def _known_voxel_nm(volume: Volume, contract: Contract) -> Spacing:
    if volume.voxel_nm is not None:
        return volume.voxel_nm
    if contract.working_voxel_nm is None:
        return (1.0, 1.0, 1.0)  # never used: the network works on the volume's own grid
    raise UsageError(
        f"{volume.path} does not say its voxel size, and the package works at "
        f"{contract.working_voxel_nm:g} nm: give it with --voxel-nm Z,Y,X"
    )


def _grid_voxel_nm(volume: Volume, contract: Contract, grid: Grid) -> Spacing | None:
    if volume.voxel_nm is None or grid == "volume" or contract.working_voxel_nm is None:
        return volume.voxel_nm
    return (volume.voxel_nm[0], contract.working_voxel_nm, contract.working_voxel_nm)


def _drift(setup: Setup) -> Iterator[str]:
    contract, volume = setup.package.contract, setup.volume
    found = quantiles(setup.counts, setup.intensity.low, setup.intensity.high, QUANTILE_PERCENTS)
    yield from intensity_drift(contract.domain, found)
    if contract.working_voxel_nm is None and volume.voxel_nm is not None:
        here, there = volume.voxel_nm[1], contract.voxel_nm[1]
        if not 0.8 <= here / there <= 1.25:
            yield (
                f"the voxels are {here:g} nm wide and the package was trained at {there:g} nm: objects will "
                "not have the size that it knows; resample the volume or train with working_voxel_nm"
            )


class _Run:
    """The stream of one run, between an opened ledger and a finished output."""

    def __init__(self, setup: Setup, watch: Watch, begin_s: float) -> None:
        self.setup = setup
        self.clock = Clock()
        self.watch = watch
        self.begin_s = begin_s
        self.fingerprint = setup.volume.fingerprint()
        self.first_tile_s: float | None = None
        self.resumed = False
        self.statistics = SliceStatistics(setup.plan.output_shape)
        self.voxels = 0
        self.engine: Engine = open_engine(
            setup.options.engine,
            setup.package.network(),
            setup.intensity.table(setup.volume.dtype),
            setup.plan.footprint,
        )
        self.seams = (
            SeamCheck(setup.plan, self.engine, self._read_region) if setup.options.check_seams else None
        )
        self._lock = threading.Lock()

    def execute(self, start: Start) -> None:
        """Write every block that is not yet finished, then finish the output."""
        plan = self.setup.plan
        with _opened(self.setup, start, self.fingerprint) as (sink, ledger):
            self.resumed = bool(ledger.done)
            todo = [index for index in range(len(plan)) if index not in ledger.done]
            self.watch.begin(sum(plan.block_at(index).output.size for index in todo))
            steps = Steps(self._read, lambda block, p: self._write(block, p, sink, ledger), self._advance)
            try:
                run_stream(plan, todo, self.engine, steps, threads_for(self.setup.workers), self.clock)
            except BaseException as error:
                # An OutputError says so itself.
                if ledger.has_blocks and not isinstance(error, OutputError):
                    self.watch.say(
                        f"finished blocks of {self.setup.options.output} are kept: run again with --resume"
                    )
                raise
            with self.clock.stage("write"):
                sink.finish()
            ledger.remove()

    def _read_volume(self, region: Region) -> Voxels:
        with self.clock.stage("read"):
            return self.setup.volume.read(region)

    def _read_region(self, region: Region) -> Voxels:
        return read_working(self._read_volume, self.setup.plan, region)

    def _read(self, block: Block) -> Voxels:
        with self.clock.stage("prepare"):
            return self._read_region(block.read)

    def _advance(self, voxels: int) -> None:
        if self.first_tile_s is None:
            self.first_tile_s = perf_counter() - self.begin_s
        self.watch.advance(voxels * self.setup.output_share)

    def _write(self, block: Block, working: NDArray[np.uint8], sink: Sink, ledger: Ledger) -> None:
        if self.seams is not None:
            self.seams.observe(block, working)
        with self.clock.stage("assemble"):
            probability = self.setup.plan.back.apply(working, block.core, block.output).astype(
                np.uint8, copy=False
            )
            mask = mask_of(probability, self.setup.threshold)
        with self.clock.stage("write"):
            sink.write(block.output, probability, mask)
            ledger.record(block.index, block_crc(probability, mask))
        with self._lock:
            self.statistics.add(block.output, probability, mask)
            self.voxels += block.output.size


@contextmanager
def _opened(setup: Setup, start: Start, fingerprint: str) -> Iterator[tuple[Sink, Ledger]]:
    """Open sink and ledger; on an error leave nothing behind unless finished blocks can be resumed."""
    output, header = setup.options.output, _header(setup, fingerprint)
    ledger = Ledger.resume(output, header) if start is Start.RESUME else None
    sink = open_sink(setup.spec, resume=ledger is not None)
    try:
        ledger = ledger or Ledger.create(output, header)
        yield sink, ledger
    except BaseException:
        finished = ledger is not None and ledger.has_blocks
        sink.close()
        if ledger is not None:
            ledger.close()
        if not finished:
            discard_partial(output)
        raise
    sink.close()


def _header(setup: Setup, fingerprint: str) -> LedgerHeader:
    options = {
        "threshold": setup.threshold,
        "voxel_nm": setup.volume.voxel_nm,
        "normalisation": [setup.intensity.low, setup.intensity.high, setup.intensity.clip],
    }
    return LedgerHeader(fingerprint, setup.package.sha256, setup.plan.to_json(), __version__, options)


def _statistics_of(setup: Setup) -> SliceStatistics:
    """Collect the statistics of a finished output, of which this run has seen only a part."""
    statistics = SliceStatistics(setup.plan.output_shape)
    with open_volume(_probability_of(setup)) as written:
        for block in setup.plan.blocks():
            probability = written.read(block.output).astype(np.uint8, copy=False)
            statistics.add(block.output, probability, mask_of(probability, setup.threshold))
    return statistics


def _probability_of(setup: Setup) -> Path:
    output = setup.options.output
    return probability_path(output) if output_kind(output) is OutputKind.TIFF else output


def _write_preview(setup: Setup, statistics: SliceStatistics) -> None:
    with open_volume(_probability_of(setup)) as written:
        write_volume_preview(
            preview_path(setup.options.output),
            setup.volume,
            written,
            statistics,
            threshold=setup.threshold,
            voxel_nm=setup.volume.voxel_nm,
            title=(f"{setup.package.contract.name} on {Path(setup.volume.path).name}",),
        )


def _report(
    setup: Setup, run: _Run, statistics: SliceStatistics, started: datetime, drift: Sequence[str]
) -> Report:
    plan, volume, contract = setup.plan, setup.volume, setup.package.contract
    busy_s = run.clock.busy_s
    resample_s = busy_s.pop("prepare", 0.0) - busy_s.get("read", 0.0)
    method = _method(contract)
    return Report(
        input=InputFacts(
            Path(volume.path).name,
            volume.format,
            volume.shape,
            str(volume.dtype),
            volume.voxel_nm,
            run.fingerprint,
        ),
        package=PackageFacts(
            contract.name, setup.package.sha256, method if isinstance(method, str) else None
        ),
        grids=GridFacts(
            plan.working_shape,
            _grid_voxel_nm(volume, contract, "working"),
            plan.output_shape,
            setup.spec.voxel_nm,
        ),
        normalisation=NormalisationFacts(
            setup.intensity.low, setup.intensity.high, setup.intensity.clip, int(setup.counts.sum())
        ),
        plan=PlanFacts(
            plan.block,
            plan.tile,
            plan.footprint.halo_px,
            plan.footprint.stride_px,
            len(plan),
            sum(len(block.tiles) for block in plan.blocks()),
        ),
        engine=run.engine.description,
        workers=setup.workers,
        threshold=setup.threshold,
        busy_s={**busy_s, "resample": resample_s},
        wall_s=perf_counter() - run.begin_s,
        first_tile_s=run.first_tile_s,
        voxels=run.voxels,
        peak_rss_bytes=peak_rss_bytes(),
        machine=machine_facts(),
        versions=versions(),
        started=started.isoformat(timespec="seconds"),
        resumed=run.resumed,
        foreground_share=statistics.foreground_share,
        drift=tuple(drift),
        seams=None if run.seams is None else run.seams.score(),
    )


def _method(contract: Contract) -> str | None:
    """Return the training method that the package's provenance names, if it names one."""
    run = contract.provenance.get("run")
    method = run.get("method") if isinstance(run, dict) else None
    return method if isinstance(method, str) else None
