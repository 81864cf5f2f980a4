"""Examine a package's engines on this machine, or recall what came of it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import uuid4

import numpy as np

from dmn_runtime.cache_folder import cache_folder
from dmn_runtime.certificate.golden import Golden, read_golden
from dmn_runtime.contract import Contract
from dmn_runtime.engines.base import Runner, Tiles
from dmn_runtime.engines.candidates import AUTO, Candidate
from dmn_runtime.engines.catalogue import Order, kind_of
from dmn_runtime.engines.remembered import (
    State,
    networks_of,
    recall,
    recall_faults,
    remember,
    state_of,
)
from dmn_runtime.engines.trial import Trial, examine, timed
from dmn_runtime.errors import DmnError, EngineError, ResumeError
from dmn_runtime.geometry import round_up
from dmn_runtime.gpu.memory_plan import BatchShape
from dmn_runtime.package import Package
from dmn_runtime.plan import BLOCK_SLICES, TILE_EDGE_PX

TIMED_EDGE_PX = 512


@dataclass(frozen=True)
class Wish:
    """What the user asks of the engine.

    Attributes:
        engine: "auto" or a word of the table.
        precision: "auto" or a precision that the package holds.
        workers: threads that will call at once.
        tile_px: largest edge of a tile without its halo, None for the plan's own.
        strict: refuse where an engine fails its certificate, instead of falling back.
        begun: what went through a GPU in one call when the run that is resumed was begun; None leaves it
            open.
    """

    engine: str = AUTO
    precision: str = AUTO
    workers: int = 1
    tile_px: int | None = None
    strict: bool = False
    begun: BatchShape | None = None


def examined(
    package: Package,
    wanted: Iterable[Candidate],
    wish: Wish,
    say: Callable[[str], None],
    *,
    again: bool = False,
) -> tuple[Trial, ...]:
    """Return a trial of each candidate: remembered ones or, if they do not suffice, all of them anew.

    Args:
        package: what is to be run.
        wanted: the candidates.
        wish: for how many workers and what tiles.
        say: takes sentences for people.
        again: examine, whatever is remembered, also on the owner's volume.
    """
    wanted = tuple(wanted)
    if not wanted:
        return ()
    cache_folder()  # one that cannot be is refused before the examination, not after
    state = state_for(package, wish)
    known, faults = ({}, {}) if again else (recall(state), recall_faults(state))
    missing = [one for one in wanted if one not in known]
    if raced([known[one] for one in wanted if one in known]):
        failures = _still_failing(package, missing, wish, say) if len(missing) < len(wanted) else None
        if failures is not None:
            known |= failures
            return tuple(with_fault(known[one], faults) for one in wanted)
    say("examining engines, once for this package on this machine: " + ", ".join(str(one) for one in wanted))
    trials = _trials(wanted, [order_for(package, one, wish, say) for one in wanted], read_golden(package))
    kept = recall(state)
    why = remember(
        state, [*(known for one, known in kept.items() if one not in wanted), *_raced(trials, kept)]
    )
    if why is not None:
        say(f"warning: the finding is not kept and will be made again: {why}")
    return tuple(with_fault(trial, faults) for trial in trials)


def raced(trials: Sequence[Trial]) -> bool:
    """Tell whether the speeds of those trials that may run can be compared: a single one, or one race."""
    sound = [trial for trial in trials if trial.fault is None]
    return len(sound) < 2 or (len({trial.race for trial in sound}) == 1 and sound[0].race != "")


def _raced(trials: Sequence[Trial], kept: Mapping[Candidate, Trial]) -> list[Trial]:
    """Return the trials with the speeds of an earlier race where they were not in one."""
    return [
        replace(trial, voxels_per_s=kept[trial.candidate].voxels_per_s, race=kept[trial.candidate].race)
        if trial.race == "" and trial.fault is None and trial.candidate in kept
        else trial
        for trial in trials
    ]


def _still_failing(
    package: Package, missing: Sequence[Candidate], wish: Wish, say: Callable[[str], None]
) -> dict[Candidate, Trial] | None:
    """Return trials of candidates that do not run; None if one does, so that all must be examined."""
    failures: dict[Candidate, Trial] = {}
    golden = read_golden(package) if missing else None
    for one in missing:
        runner = opened(one, order_for(package, one, wish, say))
        assert golden is not None
        try:
            failures[one] = examine(package.contract, one, runner, golden)
        finally:
            if not isinstance(runner, DmnError):
                runner.close()
        if failures[one].parity is not None:
            return None
    return failures


def with_fault(trial: Trial, faults: Mapping[Candidate, str]) -> Trial:
    """Return a trial with what the owner's volume has shown of its candidate."""
    fault = faults.get(trial.candidate)
    return trial if trial.fault is not None or fault is None else replace(trial, fault=fault)


def state_for(package: Package, wish: Wish) -> State:
    """Return the state of affairs that a finding for this package and wish belongs to."""
    contract = package.contract
    edge_px = read_edge_px(contract, wish.tile_px)
    return state_of(package.sha256, networks_of(contract), wish.workers, edge_px)


def order_for(package: Package, candidate: Candidate, wish: Wish, say: Callable[[str], None]) -> Order:
    """Return what a candidate is opened for."""
    contract, precision, begun = package.contract, candidate.precision, wish.begun
    if begun is None:
        begun = BatchShape(BLOCK_SLICES, read_edge_px(contract, wish.tile_px))
    exactly = wish.begun is not None
    return Order(package, precision, wish.workers, begun.edge_px, begun.batch, say, exactly)


def read_edge_px(contract: Contract, tile_px: int | None) -> int:
    """Return the edge of the largest tile that a run reads, halo included, a multiple of the stride."""
    return round_up(tile_px or TILE_EDGE_PX, contract.stride_px) + 2 * contract.halo_px


def _trials(wanted: Sequence[Candidate], orders: Sequence[Order], golden: Golden) -> tuple[Trial, ...]:
    """Examine every candidate, then race those that may run; the only one is not raced."""
    contract = orders[0].package.contract
    found: dict[Candidate, Trial] = {}
    racers: dict[Candidate, Runner] = {}
    try:
        for one, order in zip(wanted, orders, strict=True):
            runner = opened(one, order)
            if not isinstance(runner, DmnError):
                racers[one] = runner
            found[one] = examine(contract, one, runner, golden)
            if found[one].fault is not None and one in racers:
                racers.pop(one).close()
        if len(racers) > 1:
            tiles = {one: timed_tile(golden, orders[wanted.index(one)], one) for one in racers}
            race = uuid4().hex
            for one, speed in timed(racers, tiles, orders[0].workers).items():
                found[one] = _placed(found[one], speed, race)
    finally:
        for runner in racers.values():
            runner.close()
    return tuple(found[one] for one in wanted)


def _placed(trial: Trial, speed: float | Exception, race: str) -> Trial:
    if isinstance(speed, Exception):
        words = " ".join(str(speed).split())
        return replace(trial, fault=f"it stops under load ({type(speed).__name__}: {words})")
    return replace(trial, voxels_per_s=speed, race=race)


def opened(candidate: Candidate, order: Order) -> Runner | DmnError:
    """Open a candidate's network, or return why it cannot be.

    Raises:
        ResumeError: it cannot be as the run that is resumed was begun; another would end in other bytes.
    """
    try:
        return kind_of(candidate.engine).open(order)
    except ResumeError:
        raise
    except DmnError as error:
        return error
    except Exception as error:  # a broken library must not keep the others from running
        words = " ".join(str(error).split())
        return EngineError(f"it cannot be opened ({type(error).__name__}: {words})")


def timed_tile(golden: Golden, order: Order, candidate: Candidate) -> Tiles:
    """Return real tissue for a race, reflected to the edge: numbers that are all alike compute faster.

    A GPU is raced with what a run gives it, a processor with one tile that shows the same speed sooner.
    """
    edge = min(order.edge_px, round_up(TIMED_EDGE_PX, order.package.contract.stride_px))
    batch = 1
    if kind_of(candidate.engine).on_gpu:
        edge, batch = order.edge_px, order.batch
    tile = golden.tiles[:1]
    more = [max(0, edge - size) for size in tile.shape[2:]]
    padded = np.pad(tile, [(0, 0), (0, 0), (0, more[0]), (0, more[1])], mode="symmetric")
    return np.ascontiguousarray(np.repeat(padded[..., :edge, :edge], batch, axis=0))
