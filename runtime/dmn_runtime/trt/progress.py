"""How far a build is: the library's nested phases as one fraction that never falls."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dmn_runtime.trt.api import Api


@dataclass(frozen=True)
class Progress:
    """`phase`: the library's word for what it does; `fraction`: of the whole build, 0 to 1."""

    phase: str
    fraction: float


Report = Callable[[Progress], None]


def ignore(_: Progress) -> None:
    """Tell nobody."""


@dataclass
class _Phase:
    parent: str | None
    steps: int
    done: int = 0
    inner: float = 0.0

    def fraction(self) -> float:
        return min(1.0, (self.done + self.inner) / max(self.steps, 1))


class Phases:
    """The phases that are open, each a step of its parent."""

    def __init__(self) -> None:
        self._open: dict[str, _Phase] = {}
        self._best = 0.0

    def start(self, name: str, parent: str | None, steps: int) -> Progress:
        """Open a phase of `steps` steps inside `parent`."""
        self._open[name] = _Phase(parent, steps)
        return self._progress(name)

    def step(self, name: str, index: int) -> Progress:
        """Note that step `index` (from 0) of a phase is done."""
        if name in self._open:
            self._open[name].done, self._open[name].inner = index + 1, 0.0
        return self._progress(name)

    def finish(self, name: str) -> Progress:
        """Close a phase."""
        if name in self._open:
            self._open[name].done, self._open[name].inner = self._open[name].steps, 0.0
        progress = self._progress(name)
        self._open.pop(name, None)
        return progress

    def _progress(self, name: str) -> Progress:
        """Carry the phase's fraction up to the outermost one; a closed phase changes nothing."""
        phase = self._open.get(name)
        while phase is not None:
            fraction, phase = phase.fraction(), self._open.get(phase.parent or "")
            if phase is not None:
                phase.inner = fraction
            else:
                self._best = max(self._best, fraction)
        return Progress(name, self._best)


@dataclass
class Interruption:
    """Why a build was stopped from outside: what the report raised."""

    error: BaseException | None = None


def make_monitor(api: Api, report: Report, interruption: Interruption) -> Any:
    """Return a progress monitor for a build; a report that raises stops the build at its next step.

    The error waits in `interruption`, since the library cannot carry it.
    """
    phases = Phases()

    def tell(progress: Progress) -> None:
        if interruption.error is None:
            try:
                report(progress)
            except BaseException as error:
                interruption.error = error

    class Monitor(api.IProgressMonitor):  # type: ignore[misc,name-defined]
        """The library wants a subclass, and its __init__ called by name."""

        def __init__(self) -> None:
            api.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            tell(phases.start(phase_name, parent_phase, num_steps))

        def step_complete(self, phase_name: str, step: int) -> bool:
            tell(phases.step(phase_name, step))
            return interruption.error is None

        def phase_finish(self, phase_name: str) -> None:
            tell(phases.finish(phase_name))

    return Monitor()
