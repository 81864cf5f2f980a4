"""One live run: a folder that fills becomes an output that grows, and at the end a finished one."""

import shlex
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from threading import Lock
from time import monotonic, perf_counter, sleep
from typing import final

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.clock import Clock, Occupancy
from dmn_runtime.drift import share_drift
from dmn_runtime.engines.base import Runner
from dmn_runtime.engines.choose import Choice, choose, open_best
from dmn_runtime.errors import OutputError
from dmn_runtime.geometry import Region
from dmn_runtime.inference import (
    Watch,
    as_begun,
    assemble,
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
from dmn_runtime.live.head import SLICES, Head, Timing, Wanted, folder_format, require_folder, wait_for_head
from dmn_runtime.live.lag import meter_line
from dmn_runtime.live.layout import (
    LiveOptions,
    deeper,
    end_of,
    fit_partial,
    live_header,
    live_layout,
    live_volume,
    refuse_live_options,
    sampled_voxels,
    with_depth,
)
from dmn_runtime.normalise import histogram
from dmn_runtime.package import open_package, resolve_package
from dmn_runtime.plan import Block
from dmn_runtime.report import Report, write_report
from dmn_runtime.run_report import Tally, make_report, report_path, require_same_run
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
from dmn_runtime.volume.base import Voxels
from dmn_runtime.volume.file_volume import FileVolume
from dmn_runtime.volume.slices import open_slices
from dmn_runtime.workforce import gather_workforce

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
        refuse_output(options.output, overwrite=options.overwrite, resume=options.resume)
        start, begun = Start.FRESH, Begun()
        if options.resume:
            start = prepare_output(options.output, overwrite=False, resume=True)
            begun, wish = begun_run(options.output), as_begun(wish, options.output)
        until = end_of(live.until, options.output, start)
        arrivals = Arrivals(live.settle_s)
        wanted = Wanted(
            _head_slices(options, start, until), live.first, begun.series, options.voxel_nm, until
        )
        head = wait_for_head(folder, wanted, arrivals, timing, live.poll_s, watch.say, watch.show)
        opened.callback(head.volume.close)
        volume = live_volume(head, until)
        layout = live_layout(options, package.contract, volume, head, begun, wish.workers)
        chosen_s = -perf_counter()
        choice, runner = open_best(package, choose(package, wish, watch.say), wish, watch.say)
        opened.callback(runner.close)
        chosen_s += perf_counter()
        setup = set_up(options, package, volume, layout, choice, wish.workers)
        run = _LiveRun(setup, head, live, watch, timing, until, sampled_voxels(options, begun, layout))
        run.begin(runner, opened, begin_s + chosen_s, chosen_s)
        if start is Start.COMPLETE:
            whole = run.with_volume(head.volume)
            require_same_run(report_path(options.output), whole, head.volume.fingerprint())
            watch.say(f"{options.output} is complete already")
            return None
        if not options.resume:
            prepare_output(options.output, overwrite=options.overwrite, resume=False)
        return run.finish(start, arrivals, started)


def _head_slices(options: Options, start: Start, until: int | None) -> int:
    """Return for how many slices a run waits before it begins."""
    if start is Start.RESUME:
        return 1
    if until is not None and start is not Start.FRESH:
        return until
    # Two names tell which number in them counts the slices.
    return min(SLICES if options.intensity is None else 2, until or SLICES)


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
        head: Head,
        live: LiveOptions,
        watch: LiveWatch,
        timing: Timing,
        until: int | None,
        sampled: int,
    ) -> None:
        self.setup = setup
        self.head = head
        self.live = live
        self.watch = watch
        self.timing = timing
        self.until = until
        self.sampled = sampled
        self.clock, self.queues = Clock(), Occupancy()
        self.first_tile_s: float | None = None
        self.voxels = 0
        self._lock = Lock()
        self.resumed = False

    def begin(self, runner: Runner, opened: ExitStack, begin_s: float, chosen_s: float) -> None:
        """Gather who does the work; say what the run goes by."""
        self.begin_s, self.chosen_s = begin_s, chosen_s
        self.force = gather_workforce(self.setup, runner, self.clock, self.watch.say)
        opened.callback(self.force.engine.close)

    def with_volume(self, volume: FileVolume) -> Setup:
        """Return the setup of the whole volume, which is there now."""
        return replace(self.setup, volume=volume, counts=histogram(volume))

    def finish(self, start: Start, arrivals: Arrivals, started: datetime) -> Report:
        """Segment what is to come; finish the output and all that stands beside it."""
        output = self.setup.options.output
        warned = self._warn(drift_of(replace(self.setup, volume=self.head.volume)))
        header = live_header(self.setup, self.head, self.force.engine.description, self.sampled)
        if start is Start.UNREPORTED:
            ledger = Ledger.resume(output, header)
            whole, fingerprint = self.with_volume(self.head.volume), self.head.volume.fingerprint()
            self.resumed = True
        else:
            ledger, whole, fingerprint = self._segmented(start, header, arrivals)
        try:
            with whole.volume:
                return self._report(whole, fingerprint, ledger, warned, started)
        finally:
            ledger.close()

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
                    with self.clock.stage("write"):
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
            self._advance,
        )
        indices: Iterator[int] = chain([first], feed)
        feed.lag.begin_work(self.timing.now())
        try:
            run_stream(self.setup.plan, indices, self.force.work, steps, self.force.threads, self.queues)
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
        return self.with_volume(FileVolume(self.setup.volume.path, source, self.setup.options.voxel_nm))

    def _read(self, block: Block, feed: Feed) -> Voxels:
        def timed(region: Region) -> Voxels:
            with self.clock.stage("read"):
                return feed.read(block, region)

        with self.clock.stage("prepare"):
            patch = self.force.read(timed, block)
        feed.has_read(block)
        return patch

    def _write(self, block: Block, working: NDArray[np.uint8], feed: Feed, sink: Sink) -> None:
        with self.clock.stage("assemble"):
            probability, mask = assemble(self.setup, block, working)
        with self.clock.stage("write"):
            sink.write(block.output, probability, mask)
            feed.record(block, block_crc(probability, mask))
        with self._lock:
            self.voxels += block.output.size
        self._show(feed)

    def _advance(self, _: int) -> None:
        if self.first_tile_s is None:
            self.first_tile_s = perf_counter() - self.begin_s

    def _show(self, feed: Feed) -> None:
        self.watch.show(meter_line(feed.progress()))

    def _warn(self, sentences: Iterator[str] | list[str]) -> tuple[str, ...]:
        return warn(Watch(self.watch.say, lambda _: None, lambda _: None), sentences)

    def _report(
        self, whole: Setup, fingerprint: str, ledger: Ledger, warned: tuple[str, ...], started: datetime
    ) -> Report:
        """Write preview and report of the finished output, and let go of the ledger."""
        contract, statistics = whole.package.contract, statistics_of(whole)
        drift = [*drift_of(whole), *moved_greys(whole.intensity, whole.counts, contract.normalisation)]
        drift += share_drift(contract.domain, statistics.foreground_share)
        self._warn([sentence for sentence in drift if sentence not in warned])
        write_preview_beside(whole, statistics)
        report = make_report(
            whole, self._tally(started, fingerprint, statistics.foreground_share, tuple(drift))
        )
        # The map is that of the first slices, not of the sample with which it was compared.
        normalisation = replace(report.normalisation, sampled_voxels=self.sampled)
        report = replace(report, normalisation=normalisation)
        write_report(report_path(whole.options.output), report)
        ledger.remove()
        self.watch.say(f"the same as a batch run: {batch_line(whole, whole.choice)}")
        return report

    def _tally(
        self, started: datetime, fingerprint: str, foreground_share: float, drift: tuple[str, ...]
    ) -> Tally:
        busy_s = self.clock.busy_s
        if "prepare" in busy_s:
            busy_s["resample"] = busy_s.pop("prepare") - busy_s["read"]
        return Tally(
            fingerprint=fingerprint,
            engine=self.force.engine.description,
            busy_s=busy_s,
            queues=self.queues.means(),
            wall_s=perf_counter() - self.begin_s,
            choose_s=self.chosen_s,
            first_tile_s=self.first_tile_s,
            voxels=self.voxels,
            started=started,
            resumed=self.resumed,
            foreground_share=foreground_share,
            drift=drift,
            seams=None,
        )
