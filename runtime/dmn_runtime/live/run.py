"""One live run: a folder that fills becomes an output that grows, and at the end a finished one."""

import shlex
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from time import monotonic, perf_counter, sleep
from typing import final

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.drift import share_drift
from dmn_runtime.engines.choose import Choice, choose, open_best
from dmn_runtime.errors import OutputError
from dmn_runtime.inference import (
    as_begun,
    opened_output,
    remove_old_report,
    statistics_of,
    warn,
    write_preview_beside,
)
from dmn_runtime.live.arrivals import Arrivals, list_folder
from dmn_runtime.live.begun import Begun, begun_run
from dmn_runtime.live.drift import moved_greys
from dmn_runtime.live.feed import Feed, Place
from dmn_runtime.live.head import (
    SLICES,
    Head,
    Timing,
    Wanted,
    folder_format,
    head_of_finished,
    require_folder,
    wait_for_head,
)
from dmn_runtime.live.lag import meter_line
from dmn_runtime.live.layout import (
    FINISHED,
    LiveOptions,
    deeper,
    end_of,
    fit_partial,
    live_header,
    live_layout,
    live_volume,
    refuse_large,
    refuse_live_options,
    sampled_voxels,
    with_depth,
)
from dmn_runtime.normalise import histogram
from dmn_runtime.package import open_package, resolve_package
from dmn_runtime.plan import Block
from dmn_runtime.report import Report, write_report
from dmn_runtime.run_report import make_report, report_path, require_same_run
from dmn_runtime.setup import Options, Setup, drift_of, engine_wish, refuse_input_as_output, set_up
from dmn_runtime.sink.base import Sink
from dmn_runtime.sink.ledger import Ledger, LedgerHeader, block_crc
from dmn_runtime.sink.lock import output_lock
from dmn_runtime.sink.open import (
    Start,
    check_folder,
    open_sink,
    prepare_output,
    refuse_output,
    resize_partial,
)
from dmn_runtime.stream import Steps, run_stream
from dmn_runtime.timed_steps import TimedSteps
from dmn_runtime.volume.base import Voxels
from dmn_runtime.volume.file_volume import FileVolume
from dmn_runtime.volume.slices import open_slices

SYSTEM = Timing(monotonic, sleep, list_folder)


@dataclass(frozen=True)
class LiveWatch:
    """Who hears of a live run: `say` gets sentences, once each; `show` how it stands, again and again."""

    say: Callable[[str], None]
    show: Callable[[str], None]


def watch_folder(
    options: Options, live: LiveOptions, watch: LiveWatch, timing: Timing = SYSTEM
) -> Report | None:
    """Segment the slices of a folder as they come; return the report once `live.until` slices are segmented.

    Args:
        options: the words of `dmn infer`; the volume is the folder.
        live: what live mode adds.
        watch: who hears of it.
        timing: clock and folder.

    Returns:
        None if a run was to be resumed whose output is complete.

    Raises:
        DmnError: bad input; nothing is left behind, unless finished blocks can be resumed.
        KeyboardInterrupt: the run was stopped, which without `live.until` is its only end.
    """
    started, begin_s = datetime.now(UTC), perf_counter()
    folder = require_folder(options.volume)
    refuse_live_options(options, live)
    refuse_input_as_output(options)
    check_folder(options.output)
    package, wish = open_package(resolve_package(options.package)), engine_wish(options)
    with output_lock(options.output), ExitStack() as opened:
        if options.voxel_nm is None and package.contract.working_voxel_nm is not None:
            watch.say(
                "warning: without --voxel-nm the first slices must say their voxel size, or the run ends as "
                "they come"
            )
        refuse_output(options.output, overwrite=options.overwrite, resume=options.resume)
        start, begun = Start.FRESH, Begun()
        if options.resume:
            start = prepare_output(options.output, overwrite=False, resume=True)
            begun, wish = begun_run(options.output), as_begun(wish, options.output)
        until = end_of(live.until, options.output, start)
        arrivals = Arrivals(live.settle_s)
        wanted = _wanted(options, live, start, begun, until)
        if start in FINISHED:
            head = head_of_finished(folder, wanted, timing.list_folder)
        else:
            head = wait_for_head(folder, wanted, arrivals, timing, live.poll_s, watch.say, watch.show)
        opened.callback(head.volume.close)
        volume = live_volume(head, until)
        layout = live_layout(options, package.contract, volume, head, begun, wish.workers)
        chosen_s = -perf_counter()
        choice = choose(package, wish, watch.say)
        if start is Start.COMPLETE:
            _require_same(set_up(options, package, volume, layout, choice, wish.workers), head)
            watch.say(f"{options.output} is complete already")
            return None
        choice, runner = open_best(package, choice, wish, watch.say)
        opened.callback(runner.close)
        chosen_s += perf_counter()
        setup = set_up(options, package, volume, layout, choice, wish.workers, wish.begun)
        steps = TimedSteps(setup, runner, watch.say, begin_s + chosen_s, chosen_s)
        opened.callback(steps.force.engine.close)
        refuse_large(setup.plan, volume, steps.force.threads.readers)
        if not options.resume:
            prepare_output(options.output, overwrite=options.overwrite, resume=False)
        run = _LiveRun(setup, steps, head, live, watch, timing, until, sampled_voxels(options, begun, layout))
        return run.finish(start, arrivals, started)


def _wanted(options: Options, live: LiveOptions, start: Start, begun: Begun, until: int | None) -> Wanted:
    """Return what a run wants of its first slices before it begins."""
    # A run that goes on knows everything of them but their shape.
    alone = start is Start.RESUME
    count = 1 if alone else _head_slices(options, start, until)
    return Wanted(count, alone, live.first, begun.series, options.voxel_nm, until)


def _head_slices(options: Options, start: Start, until: int | None) -> int:
    if until is not None and start in FINISHED:
        return until
    # Two names tell which number in them counts the slices.
    return min(SLICES if options.intensity is None else 2, until or SLICES)


def _require_same(setup: Setup, head: Head) -> None:
    """Refuse to call an output complete that was made from other slices, or otherwise."""
    whole = replace(setup, volume=head.volume, counts=head.counts)
    require_same_run(report_path(setup.options.output), whole, head.volume.fingerprint())


def batch_line(setup: Setup, choice: Choice) -> str:
    """Return the command that makes the same voxels from the finished folder."""
    options, intensity = setup.options, setup.intensity
    words: list[object] = [
        *("dmn", "infer", options.package, options.volume),
        *("-o", options.output.with_name(f"again-{options.output.name}")),
        *("--intensity", f"{_number(intensity.low)},{_number(intensity.high)}"),
        *("--engine", choice.candidate.engine, "--precision", choice.candidate.precision),
        *("--threshold", _number(setup.threshold)),
    ]
    if options.voxel_nm is not None:
        words += ["--voxel-nm", ",".join(map(_number, options.voxel_nm))]
    if options.grid != "volume":
        words += ["--at", options.grid]
    return shlex.join(map(str, words))


def _number(value: float) -> str:
    return repr(float(value)).removesuffix(".0")


@final
class _LiveRun:
    """What a live run holds between its setup and its report."""

    def __init__(
        self,
        setup: Setup,
        steps: TimedSteps,
        head: Head,
        live: LiveOptions,
        watch: LiveWatch,
        timing: Timing,
        until: int | None,
        sampled: int,
    ) -> None:
        self.setup = setup
        self.steps = steps
        self.head = head
        self.live = live
        self.watch = watch
        self.timing = timing
        self.until = until
        self.sampled = sampled
        self.resumed = False

    def finish(self, start: Start, arrivals: Arrivals, started: datetime) -> Report:
        """Segment what is to come; finish the output and all that stands beside it."""
        output = self.setup.options.output
        # One slice says little, and what the first ones said was told when the run was begun.
        early: Iterable[str] = ()
        if start is not Start.RESUME:
            early = drift_of(replace(self.setup, volume=self.head.volume))
        warned = warn(self.watch.say, early)
        force = self.steps.force
        header = live_header(self.setup, self.head, force.engine.description, force.batch, self.sampled)
        if start is Start.UNREPORTED:
            ledger = Ledger.resume(output, header)
            whole, fingerprint = self._with_volume(self.head.volume), self.head.volume.fingerprint()
            self.resumed = True
        else:
            ledger, whole, fingerprint = self._segmented(start, header, arrivals)
        try:
            with whole.volume:
                return self._report(whole, fingerprint, ledger, warned, started)
        finally:
            ledger.close()

    def _with_volume(self, volume: FileVolume) -> Setup:
        """Return the setup of the whole volume, which is there now."""
        return replace(self.setup, volume=volume, counts=histogram(volume))

    def _segmented(self, start: Start, header: LedgerHeader, arrivals: Arrivals) -> tuple[Ledger, Setup, str]:
        """Stream until the end; return the ledger, the setup of the whole volume and its fingerprint."""
        if start is Start.RESUME:
            self.setup = fit_partial(self.setup, header, self.until)
            self.resumed = True
        elif self.until is None:
            self.setup = with_depth(self.setup, deeper(0, self.setup.plan.block))
        low, high = _number(self.setup.intensity.low), _number(self.setup.intensity.high)
        self.watch.say(f"grey values {low} to {high} become the network's -1 to 1")
        with opened_output(self.setup, start, header) as (sink, ledger):
            try:
                with ExitStack() as sinks:
                    sink, whole, fingerprint = self._stream(sink, ledger, arrivals, sinks)
                    remove_old_report(self.setup.options.output)
                    with self.steps.clock.stage("write"):
                        sink.finish()
            except BaseException as error:
                self._say_what_is_kept(error, ledger)
                raise
        return ledger, whole, fingerprint

    def _say_what_is_kept(self, error: BaseException, ledger: Ledger) -> None:
        if ledger.has_blocks and not isinstance(error, OutputError):  # which says so itself
            self.watch.say(
                f"finished blocks of {self.setup.options.output} are kept: go on with --resume --watch, or "
                "finish it with --resume --watch --until N"
            )
        elif isinstance(error, KeyboardInterrupt):
            self.watch.say("stopped before the first block was finished, so nothing is left")

    def _stream(
        self, sink: Sink, ledger: Ledger, arrivals: Arrivals, sinks: ExitStack
    ) -> tuple[Sink, Setup, str]:
        """Segment whatever comes until all is done; return the sink that holds it and the whole volume."""
        feed = self._feed(ledger, arrivals)
        while True:
            feed.poll()
            self._show(feed)
            first = next(feed, None)
            if first is not None:
                self._drain(feed, first, sink)
            elif feed.wanted_depth > self.setup.spec.shape[0]:
                sink.close()
                sink = self._deepen(feed)
                sinks.callback(sink.close)
            elif feed.is_finished():
                whole = self._whole(feed)
                fingerprint = whole.volume.fingerprint()
                feed.poll()
                if feed.is_finished():  # nothing was written anew while the volume was looked at
                    self.watch.say(meter_line(feed.progress()))
                    return sink, whole, fingerprint
                whole.volume.close()
            else:
                self.timing.pause(self.live.poll_s)

    def _feed(self, ledger: Ledger, arrivals: Arrivals) -> Feed:
        place = Place(
            Path(self.setup.options.volume),
            self.head.series,
            self.head.model,
            self.live.poll_s,
            self.timing.list_folder,
            self.timing.now,
        )
        feed = Feed(place, self.setup.plan, arrivals, ledger, self.until, self.watch.say)
        feed.sink_is_deep(self.setup.spec.shape[0])
        return feed

    def _drain(self, feed: Feed, first: int, sink: Sink) -> None:
        """Stream block `first` and all that can be done after it."""
        steps = Steps(
            lambda block: self._read(block, feed),
            lambda block, p: self._write(block, p, feed, sink),
            lambda _: self.steps.advance(),
        )
        indices, force = chain([first], feed), self.steps.force
        feed.lag.begin_work(self.timing.now())
        try:
            run_stream(self.setup.plan, indices, force.work, steps, force.threads, self.steps.queues)
        finally:
            feed.drained()
            feed.lag.end_work(self.timing.now())

    def _deepen(self, feed: Feed) -> Sink:
        self.setup = with_depth(self.setup, deeper(feed.wanted_depth, self.setup.plan.block))
        resize_partial(self.setup.spec)
        feed.sink_is_deep(self.setup.spec.shape[0])
        return open_sink(self.setup.spec, resume=True)

    def _whole(self, feed: Feed) -> Setup:
        kind = self.head.series.kind
        source = open_slices(feed.paths(), kind, folder_format(kind))
        return self._with_volume(FileVolume(self.setup.volume.path, source, self.setup.options.voxel_nm))

    def _read(self, block: Block, feed: Feed) -> Voxels:
        patch = self.steps.read(block, lambda region: feed.read(block, region))
        feed.has_read(block)
        return patch

    def _write(self, block: Block, working: NDArray[np.uint8], feed: Feed, sink: Sink) -> None:
        def put(probability: NDArray[np.uint8], mask: NDArray[np.uint8]) -> None:
            sink.write(block.output, probability, mask)
            feed.record(block, block_crc(probability, mask))

        self.steps.write(block, working, put)
        self._show(feed)

    def _show(self, feed: Feed) -> None:
        self.watch.show(meter_line(feed.progress()))

    def _report(
        self, whole: Setup, fingerprint: str, ledger: Ledger, warned: tuple[str, ...], started: datetime
    ) -> Report:
        """Write preview and report of the finished output, and let go of the ledger."""
        contract, statistics = whole.package.contract, statistics_of(whole)
        drift = [*drift_of(whole), *moved_greys(whole.intensity, whole.counts, contract.normalisation)]
        drift += share_drift(contract.domain, statistics.foreground_share)
        warn(self.watch.say, [sentence for sentence in drift if sentence not in warned])
        write_preview_beside(whole, statistics)
        tally = self.steps.tally(
            started, fingerprint, statistics.foreground_share, tuple(drift), resumed=self.resumed
        )
        report = make_report(whole, tally)
        # The map is that of the first slices, not of the sample with which it was compared.
        normalisation = replace(report.normalisation, sampled_voxels=self.sampled)
        report = replace(report, normalisation=normalisation)
        write_report(report_path(whole.options.output), report)
        ledger.remove()
        self.watch.say(f"the same as a batch run: {batch_line(whole, whole.choice)}")
        return report
