"""Which engine runs: examined on this machine once, remembered, always said, never silently another.

    words of the user -> candidates -> examined here (golden tiles, speed) -> the fastest that is sound

An engine that cannot do what the package's certificate says falls back on the next of the table, aloud, or is
refused (`strict`).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.certificate.golden import Golden, read_golden
from dmn_runtime.contract import Contract
from dmn_runtime.engines.base import Engine, Runner, Tiles
from dmn_runtime.engines.candidates import AUTO, Candidate, candidates
from dmn_runtime.engines.catalogue import KINDS, WORDS, Order, kind_of
from dmn_runtime.engines.host import HostEngine
from dmn_runtime.engines.remembered import recall, remember, state_of
from dmn_runtime.engines.trial import Trial, examine, fastest, timed
from dmn_runtime.errors import CertificateError, DmnError
from dmn_runtime.geometry import round_up
from dmn_runtime.package import Package
from dmn_runtime.plan import BLOCK_SLICES, TILE_EDGE_PX, Footprint

TIMED_EDGE_PX = 512
FALLBACK_PRECISION = "fp32"


@dataclass(frozen=True)
class Wish:
    """What the user asks of the engine.

    Attributes:
        engine: "auto" or a word of the table.
        precision: "auto" or a precision that the package holds.
        workers: threads that will call at once.
        tile_px: largest edge of a tile without its halo, None for the plan's own.
        strict: refuse where an engine fails its certificate, instead of falling back.
    """

    engine: str = AUTO
    precision: str = AUTO
    workers: int = 1
    tile_px: int | None = None
    strict: bool = False


@dataclass(frozen=True)
class Choice:
    """The engine that runs, and why.

    `trials`: of everything that was examined, for the report; `reason` is one sentence.
    """

    trial: Trial
    trials: tuple[Trial, ...]
    reason: str

    @property
    def candidate(self) -> Candidate:
        """Return the engine and precision that were chosen."""
        return self.trial.candidate


def choose(package: Package, wish: Wish, say: Callable[[str], None]) -> Choice:
    """Choose the engine for a run.

    Args:
        package: what is to be run.
        wish: the user's words.
        say: takes sentences for people: what is examined, what failed and what runs instead.

    Raises:
        EngineError: the words name no engine that can run here.
        CertificateError: `wish.strict` and an engine failed, or every engine failed.
        PackageError: the package has no golden tiles, or changed while it was read.
    """
    absences = {kind.word: kind.absence() for kind in KINDS}
    held = package.contract.precisions
    wanted = candidates(KINDS, absences, held, wish.engine, wish.precision)
    trials = examined(package, wanted, wish, say)
    _complain(trials, wish, say)
    best = fastest(trials)
    if best is None:
        rest = [
            Candidate(word, FALLBACK_PRECISION)
            for word in WORDS[WORDS.index(trials[-1].candidate.engine) :]
            if absences[word] is None and Candidate(word, FALLBACK_PRECISION) not in wanted
        ]
        more = examined(package, rest, wish, say)
        _complain(more, wish, say)
        best, trials = fastest(more), (*trials, *more)
        if best is None:
            raise CertificateError(
                f"no engine on this machine gives the segmentation of {package.path}: run dmn doctor, and "
                f"send the output of dmn verify {package.path} to whoever made the package"
            )
        say(f"warning: {best.candidate} runs instead")
    return Choice(best, trials, _reason(best, trials))


def _complain(trials: Sequence[Trial], wish: Wish, say: Callable[[str], None]) -> None:
    for trial in trials:
        if trial.fault is not None:
            if wish.strict:
                raise CertificateError(
                    f"{trial.candidate} is refused: {trial.fault}; without --strict another would run"
                )
            say(f"warning: {trial.candidate} is not used: {trial.fault}")


def examined(
    package: Package,
    wanted: Iterable[Candidate],
    wish: Wish,
    say: Callable[[str], None],
    *,
    again: bool = False,
) -> tuple[Trial, ...]:
    """Return a trial of each candidate: remembered ones, or, if any is not, all of them anew and in turns.

    Args:
        package: what is to be run.
        wanted: the candidates.
        wish: for how many workers and what tiles.
        say: takes sentences for people.
        again: examine, whatever is remembered.
    """
    wanted = tuple(wanted)
    if not wanted:
        return ()
    edge = read_edge_px(package.contract, wish.tile_px)
    state = state_of(package.sha256, wish.workers, edge)
    known = recall(state)
    if not again and all(one in known for one in wanted):
        return tuple(known[one] for one in wanted)
    say("examining engines, once for this package on this machine: " + ", ".join(str(one) for one in wanted))
    orders = [order_for(package, one, wish, say) for one in wanted]
    trials = _trials(wanted, orders, read_golden(package))
    remembered(package, wish, trials, say)
    return trials


def remembered(package: Package, wish: Wish, trials: Sequence[Trial], say: Callable[[str], None]) -> None:
    """Keep trials for the next run beside those of other candidates; say where they cannot be kept."""
    state = state_of(package.sha256, wish.workers, read_edge_px(package.contract, wish.tile_px))
    known = recall(state) | {trial.candidate: trial for trial in trials}
    why = remember(state, known.values())
    if why is not None:
        say(f"warning: the finding is not kept and will be made again: {why}")


def order_for(package: Package, candidate: Candidate, wish: Wish, say: Callable[[str], None]) -> Order:
    """Return what a candidate is opened for."""
    edge = read_edge_px(package.contract, wish.tile_px)
    return Order(package, candidate.precision, wish.workers, edge, BLOCK_SLICES, say)


def read_edge_px(contract: Contract, tile_px: int | None) -> int:
    """Return the edge of the largest tile that a run reads, halo included, a multiple of the stride."""
    return round_up(tile_px or TILE_EDGE_PX, contract.stride_px) + 2 * contract.halo_px


def _trials(wanted: Sequence[Candidate], orders: Sequence[Order], golden: Golden) -> tuple[Trial, ...]:
    found_open = {one: opened(one, order) for one, order in zip(wanted, orders, strict=True)}
    runners = {one: runner for one, runner in found_open.items() if not isinstance(runner, DmnError)}
    try:
        contract = orders[0].package.contract
        found = [examine(contract, one, runner, golden) for one, runner in found_open.items()]
        sound = {trial.candidate: runners[trial.candidate] for trial in found if trial.fault is None}
        if len(sound) > 1:  # the only one is not raced
            speeds = timed(sound, timed_tile(golden, orders[0]), orders[0].workers)
            found = [replace(trial, voxels_per_s=speeds.get(trial.candidate)) for trial in found]
    finally:
        for runner in runners.values():
            runner.close()
    return tuple(found)


def opened(candidate: Candidate, order: Order) -> Runner | DmnError:
    """Open a candidate's network, or return why it cannot be."""
    try:
        return kind_of(candidate.engine).open(order)
    except DmnError as error:
        return error


def timed_tile(golden: Golden, order: Order) -> Tiles:
    """Return real tissue, reflected to the edge that is timed: numbers that are all alike compute faster."""
    edge = min(order.edge_px, round_up(TIMED_EDGE_PX, order.package.contract.stride_px))
    tile = golden.tiles[:1]
    wanted = [max(0, edge - size) for size in tile.shape[2:]]
    padded = np.pad(tile, [(0, 0), (0, 0), (0, wanted[0]), (0, wanted[1])], mode="symmetric")
    return np.ascontiguousarray(padded[..., :edge, :edge])


def _reason(best: Trial, trials: Sequence[Trial]) -> str:
    others = [trial for trial in trials if trial is not best and trial.voxels_per_s]
    if best.voxels_per_s is None or not others:
        return f"{best.candidate}, the only one in question"
    told = ", ".join(
        f"{trial.candidate} {(trial.voxels_per_s or 0.0) / 1e6:.2f}"
        for trial in sorted(others, key=lambda one: -(one.voxels_per_s or 0.0))
    )
    return (
        f"{best.candidate}, the fastest here at {best.voxels_per_s / 1e6:.2f} Mvoxel/s of the network alone "
        f"({told})"
    )


def open_engine(
    package: Package,
    choice: Choice,
    wish: Wish,
    table: NDArray[np.float32],
    footprint: Footprint,
    say: Callable[[str], None],
) -> Engine:
    """Open the engine that was chosen.

    Args:
        package: what is to be run.
        choice: from `choose`.
        wish: the same as there.
        table: network input of each grey value.
        footprint: of the network.
        say: takes sentences for people.

    Raises:
        EngineError: it cannot be opened any more.
    """
    candidate = choice.candidate
    runner = kind_of(candidate.engine).open(order_for(package, candidate, wish, say))
    return HostEngine(candidate.engine, candidate.precision, runner, table, footprint)
