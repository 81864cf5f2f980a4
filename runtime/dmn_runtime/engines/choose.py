"""Which engine runs: examined on this machine once, remembered, always said, never silently another.

    words of the user -> candidates -> examined here (golden tiles, speed) -> the fastest that is sound

An engine that cannot do what the package's certificate says is not used, aloud, or is refused (`strict`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from dmn_runtime.certificate.golden import read_golden
from dmn_runtime.contract_json import REFERENCE_PRECISION
from dmn_runtime.engines.base import Runner
from dmn_runtime.engines.candidates import Candidate, candidates
from dmn_runtime.engines.catalogue import WORDS, absences_here, kinds_here
from dmn_runtime.engines.examination import Wish, examined, opened, order_for
from dmn_runtime.engines.trial import Trial, examine, fastest, ranking
from dmn_runtime.errors import CertificateError, DmnError
from dmn_runtime.package import Package


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
    absences = absences_here()
    wanted = candidates(kinds_here(), absences, package.contract.precisions, wish.engine, wish.precision)
    trials = examined(package, wanted, wish, say)
    _complain(trials, wish, say)
    best = fastest(trials)
    if best is None:
        more = examined(package, _rest(wanted, absences), wish, say)
        _complain(more, wish, say)
        best, trials = fastest(more), (*trials, *more)
        if best is None:
            raise CertificateError(_none_left(package))
        say(f"warning: {best.candidate} runs instead")
    return Choice(best, trials, _reason(best, trials))


def _rest(wanted: Sequence[Candidate], absences: Mapping[str, str | None]) -> list[Candidate]:
    """Return what is tried where nothing that was asked for may run: fp32 by the engines further down."""
    further = WORDS[WORDS.index(wanted[-1].engine) :]
    rest = [Candidate(word, REFERENCE_PRECISION) for word in further if absences[word] is None]
    return [one for one in rest if one not in wanted]


def _none_left(package: Package) -> str:
    return (
        f"no engine on this machine gives the segmentation of {package.path}: run dmn doctor, and send the "
        f"output of dmn verify {package.path} to whoever made the package"
    )


def _complain(trials: Sequence[Trial], wish: Wish, say: Callable[[str], None]) -> None:
    for trial in trials:
        if trial.fault is not None:
            _refuse(trial, wish)
            say(f"warning: {trial.candidate} is not used: {trial.fault}")


def _refuse(trial: Trial, wish: Wish) -> None:
    if wish.strict:
        raise CertificateError(
            f"{trial.candidate} is refused: {trial.fault}; without --strict another would run"
        )


def open_best(
    package: Package, choice: Choice, wish: Wish, say: Callable[[str], None]
) -> tuple[Choice, Runner]:
    """Open the engine that was chosen or, aloud, the next that may run.

    One that is not what was examined (TensorRT has built another plan) is examined again first.

    Raises:
        CertificateError: `wish.strict` and it fails, or none is left.
    """
    for trial in ranking(choice.trials):
        runner = opened(trial.candidate, order_for(package, trial.candidate, wish, say))
        if isinstance(runner, DmnError):
            trial = replace(trial, fault=str(runner))
        elif runner.description != trial.description:
            try:
                trial = examine(package.contract, trial.candidate, runner, read_golden(package))
            except BaseException:
                runner.close()
                raise
        if trial.fault is None and not isinstance(runner, DmnError):
            return _with(choice, trial), runner
        if not isinstance(runner, DmnError):
            runner.close()
        _complain([trial], wish, say)
    raise CertificateError(_none_left(package))


def _with(choice: Choice, trial: Trial) -> Choice:
    if trial.candidate == choice.candidate:
        return replace(choice, trial=trial)
    return replace(choice, trial=trial, reason=f"{trial.candidate}, since {choice.candidate} does not run")


def _but(trial: Trial, may_run: set[Candidate]) -> str:
    """Return why a trial was not in question, for the end of its figure."""
    if trial.fault is not None:
        return " but refused"
    return "" if trial.candidate in may_run else ", too little a gain for its loss"


def _reason(best: Trial, trials: Sequence[Trial]) -> str:
    others = [trial for trial in trials if trial is not best and trial.voxels_per_s]
    if best.voxels_per_s is None or not others:
        return f"{best.candidate}, the only one in question"
    may_run = {trial.candidate for trial in ranking(trials)}
    told = ", ".join(
        f"{trial.candidate} {(trial.voxels_per_s or 0.0) / 1e6:.2f}" + _but(trial, may_run)
        for trial in sorted(others, key=lambda one: -(one.voxels_per_s or 0.0))
    )
    return (
        f"{best.candidate}, the fastest here at {best.voxels_per_s / 1e6:.2f} Mvoxel/s of the network alone "
        f"({told})"
    )
