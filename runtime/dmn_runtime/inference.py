"""One run of inference: a package and a volume become a finished output with report and preview."""

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import prod
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.drift import share_drift
from dmn_runtime.engines.candidates import AUTO
from dmn_runtime.engines.choose import choose, open_best
from dmn_runtime.engines.examination import Wish
from dmn_runtime.errors import OutputError
from dmn_runtime.geometry import Region
from dmn_runtime.gpu.memory_plan import BatchShape
from dmn_runtime.package import open_package, resolve_package
from dmn_runtime.plan import Block
from dmn_runtime.preview import SliceStatistics, write_volume_preview
from dmn_runtime.report import Report, write_report
from dmn_runtime.run_report import Tally, make_report, preview_path, report_path, require_same_run
from dmn_runtime.seams import SeamCheck
from dmn_runtime.setup import (
    ENGINE_KEY,
    Options,
    Setup,
    drift_of,
    engine_wish,
    lay_out,
    ledger_header,
    refuse_input_as_output,
    set_up,
)
from dmn_runtime.sink.base import Sink
from dmn_runtime.sink.disk import discard_partial, translate_os_errors
from dmn_runtime.sink.ledger import Ledger, LedgerHeader, block_crc
from dmn_runtime.sink.lock import output_lock
from dmn_runtime.sink.open import Start, check_folder, open_sink, prepare_output, refuse_output
from dmn_runtime.sink.paths import OutputKind, output_kind, probability_path
from dmn_runtime.source import read_working
from dmn_runtime.stream import Steps, run_stream
from dmn_runtime.tiles import mask_of
from dmn_runtime.timed_steps import TimedSteps
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
    check_folder(options.output)
    package = open_package(resolve_package(options.package))
    wish = engine_wish(options)
    with (
        output_lock(options.output),
        open_volume(options.volume, voxel_nm=options.voxel_nm) as volume,
        ExitStack() as opened,
    ):
        refuse_output(options.output, overwrite=options.overwrite, resume=options.resume)
        layout = lay_out(options, package.contract, volume, wish.workers)
        if options.resume:
            wish = as_begun(wish, options.output)
        chosen_s = -perf_counter()
        choice, runner = open_best(package, choose(package, wish, watch.say), wish, watch.say)
        opened.callback(runner.close)
        chosen_s += perf_counter()
        setup = set_up(options, package, volume, layout, choice, wish.workers, wish.begun)
        start = prepare_output(options.output, overwrite=options.overwrite, resume=options.resume)
        fingerprint = volume.fingerprint()
        if start is Start.COMPLETE:
            require_same_run(report_path(options.output), setup, fingerprint)
            watch.say(f"{options.output} is complete already")
            return None
        drift = warn(watch.say, drift_of(setup))
        steps = TimedSteps(setup, runner, watch.say, begin_s + chosen_s, chosen_s)
        opened.callback(steps.force.engine.close)
        run = _Run(setup, steps, fingerprint, watch)
        with run.executed(start) as ledger:
            statistics = statistics_of(setup) if run.resumed else run.statistics
            drift += warn(watch.say, share_drift(package.contract.domain, statistics.foreground_share))
            write_preview_beside(setup, statistics)
            report = make_report(setup, run.tally(started, statistics.foreground_share, drift))
            write_report(report_path(options.output), report)
            ledger.remove()
    return report


def as_begun(wish: Wish, output: Path) -> Wish:
    """Return the wish with the engine that an unfinished run has, where the user leaves it open.

    Else another one could have become the fastest meanwhile, and other arithmetic ends in other bytes. So it
    does on a GPU in batches of another shape.
    """
    named = _named(Ledger.begun(output))
    begun = _candidate_of(named) or _precision_of(report_path(output))
    return replace(
        wish,
        engine=begun.get("engine", AUTO) if wish.engine == AUTO else wish.engine,
        precision=begun.get("precision", AUTO) if wish.precision == AUTO else wish.precision,
        begun=_batch_of(named),
    )


def _named(header: dict[str, Any] | None) -> dict[str, Any]:
    """Return what a ledger's header says of the engine; empty where it says nothing."""
    extra = (header or {}).get("extra")
    named = extra.get(ENGINE_KEY) if isinstance(extra, dict) else None
    return named if isinstance(named, dict) else {}


def _candidate_of(named: dict[str, Any]) -> dict[str, str]:
    """Return engine and precision; empty where there are none."""
    return {key: named[key] for key in ("engine", "precision") if isinstance(named.get(key), str)}


def _batch_of(named: dict[str, Any]) -> BatchShape | None:
    """Return the batch on a GPU; None where there was none, or what there is makes no sense."""
    batch, edge_px = named.get("batch"), named.get("edge_px")
    if type(batch) is not int or type(edge_px) is not int or min(batch, edge_px) < 1:
        return None
    return BatchShape(batch, edge_px)


def _precision_of(report: Path) -> dict[str, str]:
    """Return the precision of a finished run's report; empty where it cannot be read."""
    try:
        precision = json.loads(report.read_text(encoding="utf-8"))["precision"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return {"precision": precision} if isinstance(precision, str) else {}


def warn(say: Callable[[str], None], sentences: Iterable[str]) -> tuple[str, ...]:
    """Say each sentence as a warning; return them all."""
    said = tuple(sentences)
    for sentence in said:
        say(f"warning: {sentence}")
    return said


class _Run:
    """The stream of one run, between an opened ledger and a finished output."""

    def __init__(self, setup: Setup, steps: TimedSteps, fingerprint: str, watch: Watch) -> None:
        self.setup = setup
        self.steps = steps
        self.fingerprint = fingerprint
        self.watch = watch
        self.resumed = False
        self.statistics = SliceStatistics(setup.plan.output_shape)
        self.seams: SeamCheck | None = None
        self._lock = threading.Lock()

    @contextmanager
    def executed(self, start: Start) -> Iterator[Ledger]:
        """Finish the output and give its ledger, which is to be removed once all beside the output stands.

        Until then an interrupted run can be resumed, if only for its report.
        """
        force = self.steps.force
        header = ledger_header(self.setup, self.fingerprint, force.engine.description, force.batch)
        if start is Start.UNREPORTED:
            ledger = Ledger.resume(self.setup.options.output, header)
            self.resumed = True
        else:
            with opened_output(self.setup, start, header) as (sink, ledger):
                self._stream(sink, ledger)
                remove_old_report(self.setup.options.output)
                with self.steps.clock.stage("write"):
                    sink.finish()
        try:
            yield ledger
        finally:
            ledger.close()

    def _stream(self, sink: Sink, ledger: Ledger) -> None:
        """Write every block that is not yet finished."""
        options, plan, force = self.setup.options, self.setup.plan, self.steps.force
        self.resumed = bool(ledger.done)
        todo = [index for index in range(len(plan)) if index not in ledger.done]
        if options.check_seams:
            self.seams = SeamCheck(plan, todo, force.engine, self._read_again)
        finished = sum(plan.block_at(index).output.size for index in ledger.done)
        self.watch.begin(prod(plan.output_shape) - finished)
        steps = Steps(
            lambda block: self.steps.read(block, self.setup.volume.read),
            lambda block, p: self._write(block, p, sink, ledger),
            self._advance,
        )
        try:
            run_stream(plan, todo, force.work, steps, force.threads, self.steps.queues)
        except BaseException as error:
            if ledger.has_blocks and not isinstance(error, OutputError):  # which says so itself
                self.watch.say(f"finished blocks of {options.output} are kept: run again with --resume")
            elif isinstance(error, KeyboardInterrupt):
                self.watch.say("stopped before the first block was finished, so nothing is left")
            raise

    def tally(self, started: datetime, foreground_share: float, drift: tuple[str, ...]) -> Tally:
        """Return what this run counted."""
        seams = None if self.seams is None else self.seams.score()
        return self.steps.tally(
            started, self.fingerprint, foreground_share, drift, resumed=self.resumed, seams=seams
        )

    def _read_again(self, region: Region) -> Voxels:
        return read_working(self.setup.volume.read, self.setup.plan, region)

    def _advance(self, voxels: int) -> None:
        self.steps.advance()
        self.watch.advance(voxels * self.setup.output_share)

    def _write(self, block: Block, working: NDArray[np.uint8], sink: Sink, ledger: Ledger) -> None:
        if self.seams is not None:
            with self.steps.clock.stage("seams"):
                self.seams.observe(block, working)

        def put(probability: NDArray[np.uint8], mask: NDArray[np.uint8]) -> None:
            sink.write(block.output, probability, mask)
            ledger.record(block.index, block_crc(probability, mask))

        probability, mask = self.steps.write(block, working, put)
        with self._lock:
            self.statistics.add(block.output, probability, mask)


@contextmanager
def opened_output(setup: Setup, start: Start, header: LedgerHeader) -> Iterator[tuple[Sink, Ledger]]:
    """Open sink and ledger; on an error leave nothing behind unless finished blocks can be resumed.

    The ledger stays open where all went well: what stands beside the output is still to come.
    """
    output, resume = setup.options.output, start is Start.RESUME
    ledger = Ledger.resume(output, header) if resume else None
    with ExitStack() as opened:
        if ledger is not None:
            opened.callback(ledger.close)
        sink = open_sink(setup.spec, resume=resume)
        opened.callback(sink.close)
        try:
            if ledger is None:
                ledger = Ledger.create(output, header)
                opened.callback(ledger.close)
            yield sink, ledger
        except BaseException:
            opened.close()
            if ledger is None or not ledger.has_blocks:
                with translate_os_errors(output, resumable=False):
                    discard_partial(output)
            raise
        opened.pop_all()
        sink.close()


def remove_old_report(output: Path) -> None:
    """Remove what stands beside an output that is about to be replaced: it speaks of another run."""
    with translate_os_errors(output, resumable=True):
        report_path(output).unlink(missing_ok=True)
        preview_path(output).unlink(missing_ok=True)


def statistics_of(setup: Setup) -> SliceStatistics:
    """Collect the statistics of a finished output, of which this run has seen only a part."""
    statistics = SliceStatistics(setup.plan.output_shape)
    with open_volume(probability_of(setup)) as written:
        for block in setup.plan.blocks():
            probability = written.read(block.output).astype(np.uint8, copy=False)
            statistics.add(block.output, probability, mask_of(probability, setup.threshold))
    return statistics


def probability_of(setup: Setup) -> Path:
    """Return where the finished probabilities stand."""
    output = setup.options.output
    return probability_path(output) if output_kind(output) is OutputKind.TIFF else output


def write_preview_beside(setup: Setup, statistics: SliceStatistics) -> None:
    """Write the preview of a finished output beside it."""
    with open_volume(probability_of(setup)) as written:
        write_volume_preview(
            preview_path(setup.options.output),
            setup.volume,
            written,
            statistics,
            threshold=setup.threshold,
            voxel_nm=setup.volume.voxel_nm,
            title=(f"{setup.package.contract.name} on {Path(setup.volume.path).name}",),
        )
