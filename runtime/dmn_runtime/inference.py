"""One run of inference: a package and a volume become a finished output with report and preview."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.drift import share_drift
from dmn_runtime.engines.base import Engine
from dmn_runtime.engines.choose import open_engine
from dmn_runtime.errors import OutputError
from dmn_runtime.geometry import Region
from dmn_runtime.package import open_package, resolve_package
from dmn_runtime.plan import Block
from dmn_runtime.preview import SliceStatistics, write_volume_preview
from dmn_runtime.report import Report, write_report
from dmn_runtime.run_report import Tally, make_report, preview_path, report_path
from dmn_runtime.seams import SeamCheck
from dmn_runtime.setup import Options, Setup, drift_of, ledger_header, refuse_input_as_output, set_up
from dmn_runtime.sink.base import Sink
from dmn_runtime.sink.ledger import Ledger, block_crc
from dmn_runtime.sink.open import Start, discard_partial, open_sink, prepare_output
from dmn_runtime.sink.paths import OutputKind, output_kind, probability_path
from dmn_runtime.source import read_working
from dmn_runtime.stream import Clock, Steps, run_stream, threads_for
from dmn_runtime.tiles import mask_of
from dmn_runtime.volume.base import Voxels
from dmn_runtime.volume.open import open_volume


@dataclass(frozen=True)
class Watch:
    """Who hears of a run while it goes on; may be called from several threads.

    `say` gets sentences for people, `begin` the number of output voxels to come, `advance` those just done.
    """

    say: Callable[[str], None]
    begin: Callable[[int], None]
    advance: Callable[[float], None]


def infer(options: Options, watch: Watch) -> Report | None:
    """Run inference and return the report, which also stands beside the output.

    Returns:
        None if a run was to be resumed whose output is complete.

    Raises:
        DmnError: bad input; nothing is left behind, unless finished blocks can be resumed.
        KeyboardInterrupt: the run was stopped.
    """
    started, begin_s = datetime.now(UTC), perf_counter()
    refuse_input_as_output(options)
    package = open_package(resolve_package(options.package))
    with open_volume(options.volume, voxel_nm=options.voxel_nm) as volume:
        setup = set_up(options, package, volume)
        start = prepare_output(options.output, overwrite=options.overwrite, resume=options.resume)
        if start is Start.COMPLETE:
            watch.say(f"{options.output} is complete already")
            return None
        drift = _warn(watch, drift_of(setup))
        run = _Run(setup, watch, begin_s)
        run.execute(start)
        statistics = _statistics_of(setup) if run.resumed else run.statistics
        drift += _warn(watch, share_drift(package.contract.domain, statistics.foreground_share))
        _write_preview(setup, statistics)
        report = make_report(setup, run.tally(started, statistics.foreground_share, drift))
        write_report(report_path(options.output), report)
    return report


def _warn(watch: Watch, sentences: Iterable[str]) -> tuple[str, ...]:
    said = tuple(sentences)
    for sentence in said:
        watch.say(f"warning: {sentence}")
    return said


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

    def tally(self, started: datetime, foreground_share: float, drift: tuple[str, ...]) -> Tally:
        """Return what this run counted."""
        busy_s = self.clock.busy_s
        resample_s = busy_s.pop("prepare", 0.0) - busy_s.get("read", 0.0)
        return Tally(
            self.fingerprint,
            self.engine.description,
            {**busy_s, "resample": resample_s},
            perf_counter() - self.begin_s,
            self.first_tile_s,
            self.voxels,
            started,
            self.resumed,
            foreground_share,
            drift,
            None if self.seams is None else self.seams.score(),
        )

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
    output, header = setup.options.output, ledger_header(setup, fingerprint)
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
