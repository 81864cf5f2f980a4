"""Which engines and precisions come into question for a package on a machine: pure, from words to pairs."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from dmn_runtime.engines.catalogue import Kind
from dmn_runtime.errors import EngineError

AUTO = "auto"


@dataclass(frozen=True)
class Candidate:
    """An engine and the precision that it would run."""

    engine: str
    precision: str

    def __str__(self) -> str:
        return f"{self.engine} {self.precision}"


def candidates(
    kinds: Sequence[Kind],
    absences: Mapping[str, str | None],
    held: Collection[str],
    engine: str = AUTO,
    precision: str = AUTO,
) -> tuple[Candidate, ...]:
    """Return the pairs that the user's words leave, in order of `kinds` and of their precisions.

    Args:
        kinds: all engines.
        absences: word -> why this machine cannot run it, None if it can.
        held: precisions in the package.
        engine: "auto" or a word.
        precision: "auto" or one of `held`.

    Raises:
        EngineError: an unknown word, an engine that is not there, or nothing is left.
    """
    words = [kind.word for kind in kinds]
    if engine not in (AUTO, *words):
        raise EngineError(f"there is no engine {engine!r}: --engine takes {AUTO}, {', '.join(words)}")
    if precision not in (AUTO, *held):
        raise EngineError(
            f"the package holds no precision {precision!r}: --precision takes {AUTO}, "
            f"{', '.join(sorted(held))}"
        )
    if engine != AUTO and absences[engine] is not None:
        raise EngineError(f"the engine {engine} cannot run here: {absences[engine]}; or take --engine {AUTO}")
    found = tuple(
        Candidate(kind.word, one)
        for kind in kinds
        for one in kind.precisions
        if engine in (AUTO, kind.word)
        and absences[kind.word] is None
        and one in held
        and precision in (AUTO, one)
    )
    if found:
        return found
    runners = [kind.word for kind in kinds if precision in kind.precisions]
    raise EngineError(
        f"no engine here runs the precision {precision}, {', '.join(runners) or 'none'} would: "
        f"take --precision {AUTO}"
        if engine == AUTO
        else f"the engine {engine} runs none of the package's precisions that were asked for "
        f"({precision}; it has {', '.join(sorted(held))}): take --precision {AUTO}"
    )
