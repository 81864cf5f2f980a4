"""Examine every engine of this machine on a package's golden tiles and on a volume of its owner.

What fails on either is not used for this package on this machine until it is examined again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from dmn_runtime.certificate.golden import Golden, read_golden
from dmn_runtime.certificate.stack_tiles import stack_tiles
from dmn_runtime.contract_json import REFERENCE_PRECISION
from dmn_runtime.engines.candidates import Candidate, candidates
from dmn_runtime.engines.catalogue import absences_here, kinds_here
from dmn_runtime.engines.examination import Wish, examined, opened, order_for, state_for, with_fault
from dmn_runtime.engines.remembered import recall_faults, remember_faults
from dmn_runtime.engines.trial import Trial, examine, probabilities
from dmn_runtime.errors import CertificateError, DmnError
from dmn_runtime.geometry import Spacing
from dmn_runtime.package import Package
from dmn_runtime.volume.base import Volume

REFERENCE = Candidate("cpu", REFERENCE_PRECISION)
"""What a volume without a trained network beside it is compared with: certified to be that network."""


@dataclass(frozen=True)
class Verification:
    """What came of an examination.

    Attributes:
        golden: a trial of each engine and precision on the package's tiles.
        stack: the same on the owner's volume, against `REFERENCE`; empty without one.
        absent: engine -> why this machine cannot run it.
        own: tiles of the owner's volume with the reference's answers, None without one.
    """

    golden: tuple[Trial, ...]
    stack: tuple[Trial, ...]
    absent: dict[str, str]
    own: Golden | None = None


def verify(
    package: Package, wish: Wish, say: Callable[[str], None], stack: tuple[Volume, Spacing] | None = None
) -> Verification:
    """Examine, whatever is remembered, and remember what is found on the golden tiles.

    Args:
        package: what is examined.
        wish: which engines and precisions, for how many workers.
        say: takes sentences for people.
        stack: a volume of the owner and its voxel size in nm, zyx.

    Raises:
        EngineError: the wish names nothing that can run here.
        CertificateError: the volume cannot be used, since even the reference fails here.
        PackageError, VolumeError: one of them cannot be read.
    """
    absences = absences_here()
    held = package.contract.precisions
    wanted = candidates(kinds_here(), absences, held, wish.engine, wish.precision)
    golden = examined(package, wanted, wish, say, again=True)
    absent = {word: why for word, why in absences.items() if why is not None}
    state = state_for(package, wish)
    if stack is None:  # what a volume has shown before holds, as in a run
        known = recall_faults(state)
        return Verification(tuple(with_fault(trial, known) for trial in golden), (), absent)
    own = _golden_of(package, wish, say, *stack)
    found = tuple(_on_stack(package, trial, wish, say, own) for trial in golden)
    why = remember_faults(
        state, {trial.candidate: trial.fault and f"on your volume {trial.fault}" for trial in found}
    )
    if why is not None:
        say(f"warning: what was found on your volume is not kept: {why}")
    return Verification(golden, found, absent, own)


def with_stack(golden: Sequence[Trial], stack: Sequence[Trial]) -> tuple[Trial, ...]:
    """Return the trials on golden tiles with the faults that the owner's volume has shown."""
    if not stack:
        return tuple(golden)
    return tuple(
        one
        if one.fault is not None or own.fault is None
        else replace(one, fault=f"on your volume {own.fault}")
        for one, own in zip(golden, stack, strict=True)
    )


def _golden_of(
    package: Package, wish: Wish, say: Callable[[str], None], volume: Volume, voxel_nm: Spacing
) -> Golden:
    """Return tiles of a volume with the reference's answers, once the reference has proven itself."""
    golden = read_golden(package)
    runner = opened(REFERENCE, order_for(package, REFERENCE, wish, say))
    proof = examine(package.contract, REFERENCE, runner, golden)
    if proof.fault is not None or isinstance(runner, DmnError):
        raise CertificateError(
            f"{REFERENCE}, which the volume would be compared with, fails itself: {proof.fault}; "
            "run dmn doctor"
        )
    tiles = stack_tiles(volume, package.contract, voxel_nm, golden.tiles.shape[-1])
    try:
        return Golden(tiles, probabilities(runner, tiles, package.contract.halo_px))
    finally:
        runner.close()


def _on_stack(package: Package, trial: Trial, wish: Wish, say: Callable[[str], None], own: Golden) -> Trial:
    candidate = trial.candidate
    runner = opened(candidate, order_for(package, candidate, wish, say))
    try:
        return examine(package.contract, candidate, runner, own)
    finally:
        if not isinstance(runner, DmnError):
            runner.close()
