"""Examine an engine on this machine: does it segment as the certificate says, and how fast?"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import numpy as np

from dmn_runtime.certificate.golden import Golden
from dmn_runtime.certificate.parity import Parity, compare
from dmn_runtime.certificate.tolerance import TOLERANCES, Tolerance
from dmn_runtime.contract import Certificate, Contract
from dmn_runtime.contract_json import REFERENCE_PRECISION
from dmn_runtime.engines.base import Runner, Tiles
from dmn_runtime.engines.candidates import Candidate
from dmn_runtime.errors import DmnError
from dmn_runtime.tiles import crop, sigmoid

ROUNDS = 3
ROUND_S = 0.2


@dataclass(frozen=True)
class Trial:
    """What came of an engine here.

    Attributes:
        candidate: engine and precision.
        description: of the runner, "" where it could not be opened.
        threshold: probability from which a voxel is foreground in this arithmetic.
        tolerance: what the package's certificate allows.
        parity: with the trained network, None where it did not run.
        voxels_per_s: network alone, halo included, all workers together; None where it was not timed.
        fault: why it must not be used, None if it may.
        race: in which it was timed; speeds of one race may be compared. "" where it was not.
    """

    candidate: Candidate
    description: str
    threshold: float
    tolerance: Tolerance
    parity: Parity | None
    voxels_per_s: float | None
    fault: str | None
    race: str = ""


def certificate_for(contract: Contract, candidate: Candidate) -> Certificate:
    """Return the package's certificate of a pair, or of another engine for the same precision."""
    certificates = contract.precisions[candidate.precision].certificates
    of_engine = [one for one in certificates if one.engine == candidate.engine]
    return (of_engine or list(certificates))[0]


def examine(contract: Contract, candidate: Candidate, runner: Runner | DmnError, golden: Golden) -> Trial:
    """Compare what a runner gives for the golden tiles with what the trained network gave.

    Args:
        contract: of the package.
        candidate: what is examined.
        runner: opened, or why it could not be.
        golden: the package's tiles.
    """
    certificate = certificate_for(contract, candidate)
    tolerance = Tolerance(certificate.tolerance_max_dp, certificate.tolerance_iou_change)
    threshold = certificate.threshold
    if isinstance(runner, DmnError):
        return Trial(candidate, "", threshold, tolerance, None, None, str(runner))
    try:
        found = probabilities(runner, golden.tiles, contract.halo_px)
    except Exception as error:  # libraries raise unrelated types; a run would have died of it
        words = f"it does not run ({type(error).__name__}: {' '.join(str(error).split())})"
        return Trial(candidate, runner.description, threshold, tolerance, None, None, words)
    parity = compare(golden.probability, found, contract.threshold, threshold)
    fault = None if parity.within(tolerance) else _fault(parity, tolerance)
    return Trial(candidate, runner.description, threshold, tolerance, parity, None, fault)


def probabilities(runner: Runner, tiles: Tiles, halo_px: int) -> Tiles:
    """Return the probabilities of the tiles' cores, n1hw, one call a tile.

    Without the halo, as in a run: there an engine may answer as it likes, and one that pads tiles does.
    """
    return np.concatenate([sigmoid(crop(runner.run(tile[None]), halo_px))[None] for tile in tiles])


def _fault(parity: Parity, tolerance: Tolerance) -> str:
    return (
        f"it does not segment as the package's certificate says: IoU change {parity.iou_change:.3g} "
        f"(allowed {tolerance.iou_change:g}), max |dp| {parity.max_dp:.2g} (allowed {tolerance.max_dp:g}), "
        f"worst on tile {parity.worst_tile + 1} of {parity.tiles}"
    )


def timed(
    runners: Mapping[Candidate, Runner], tiles: Mapping[Candidate, Tiles], workers: int
) -> dict[Candidate, float | Exception]:
    """Time runners side by side, voxels per second: `ROUNDS` rounds in turns, the median of each.

    In turns, because what else the machine does then costs all of them alike. A runner that raises is out of
    the race, and what it raised is its result.

    Args:
        runners: what is timed.
        tiles: network input for each, nchw.
        workers: threads that call at once.
    """
    speeds: dict[Candidate, list[float]] = {candidate: [] for candidate in runners}
    faults: dict[Candidate, Exception] = {}
    with ThreadPoolExecutor(workers) as pool:
        for turn in range(ROUNDS + 1):
            for candidate, runner in runners.items():
                if candidate in faults:
                    continue
                try:
                    speed = _round(pool, runner, tiles[candidate], workers)
                except Exception as error:  # libraries raise unrelated types; a run would have died of it
                    faults[candidate] = error
                else:
                    speeds[candidate] += [speed] if turn else []  # the first calls allocate
    return {one: faults.get(one) or median(found) for one, found in speeds.items()}


def _round(pool: ThreadPoolExecutor, runner: Runner, tile: Tiles, workers: int) -> float:
    start = perf_counter()
    calls = sum(pool.map(lambda _: _calls_until(runner, tile, start + ROUND_S), range(workers)))
    return float(calls * tile[:, 0].size / (perf_counter() - start))


def _calls_until(runner: Runner, tile: Tiles, end: float) -> int:
    calls = 0
    while True:  # one call at least, however slow
        runner.run(tile)
        calls += 1
        if perf_counter() >= end:
            return calls


def ranking(trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials that may run, the fastest first, the first of equals before the others.

    A precision that must be worth its loss (`TOLERANCES`) may not where it was raced with fp32 by the same
    engine and did not gain enough.
    """
    speeds = {trial.candidate: trial.voxels_per_s for trial in trials if trial.voxels_per_s}

    def worth_it(trial: Trial) -> bool:
        exact = speeds.get(Candidate(trial.candidate.engine, REFERENCE_PRECISION))
        wanted = TOLERANCES.get(trial.candidate.precision, trial.tolerance).speedup
        return exact is None or (trial.voxels_per_s or 0.0) >= wanted * exact

    sound = [trial for trial in trials if trial.fault is None and worth_it(trial)]
    return sorted(sound, key=lambda trial: -(trial.voxels_per_s or 0.0))


def fastest(trials: Sequence[Trial]) -> Trial | None:
    """Return the first of the ranking, None if it is empty."""
    return next(iter(ranking(trials)), None)
