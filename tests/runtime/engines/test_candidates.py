"""Candidates: every combination of a small table, against asking each pair by itself."""

from itertools import product

import pytest

from dmn_runtime.engines.candidates import AUTO, Candidate, candidates
from dmn_runtime.engines.catalogue import Kind
from dmn_runtime.errors import EngineError

PRECISIONS = {"fast": ("fp16", "fp32"), "small": ("int8", "fp32"), "plain": ("fp32",)}
HELD = (("fp32",), ("fp32", "fp16"), ("int8", "fp32"), ("fp32", "fp16", "int8"), ("fp32", "bf16"))


def never(*_: object) -> None:
    raise AssertionError("a pure function opens nothing")


KINDS = tuple(Kind(word, precisions, never, never) for word, precisions in PRECISIONS.items())


def plain(absent: set[str], held: tuple[str, ...], engine: str, precision: str) -> list[tuple[str, str]]:
    """Return the pairs by asking each one."""
    return [
        (word, one)
        for word, precisions in PRECISIONS.items()
        for one in precisions
        if word not in absent and one in held and engine in (AUTO, word) and precision in (AUTO, one)
    ]


@pytest.mark.parametrize(
    "absent", [set(), {"fast"}, {"fast", "small"}, {"plain"}, set(PRECISIONS)], ids=sorted
)
@pytest.mark.parametrize("held", HELD, ids=",".join)
def test_every_combination(absent: set[str], held: tuple[str, ...]) -> None:
    absences = {word: "it is not there" if word in absent else None for word in PRECISIONS}
    for engine, precision in product((AUTO, *PRECISIONS, "other"), (AUTO, "fp32", "fp16", "int8", "bf16")):
        wanted = plain(absent, held, engine, precision)
        known = precision in (AUTO, *held)
        if wanted and known:
            found = candidates(KINDS, absences, held, engine, precision)
            assert [(one.engine, one.precision) for one in found] == wanted
        else:
            with pytest.raises(EngineError) as caught:
                candidates(KINDS, absences, held, engine, precision)
            said = str(caught.value)
            assert "\n" not in said
            assert AUTO in said, said  # each says how to go on


THERE = {"fast": None, "small": None, "plain": None}


@pytest.mark.parametrize(
    ("absences", "engine", "precision", "said"),
    [
        (THERE, "gpu", AUTO, "there is no engine 'gpu': --engine takes auto, fast, small, plain"),
        (
            THERE,
            AUTO,
            "fp8",
            "the package holds no precision 'fp8': --precision takes auto, bf16, fp16, fp32",
        ),
        (
            THERE | {"fast": "no driver answers"},
            "fast",
            AUTO,
            "the engine fast cannot run here: no driver answers; or take --engine auto",
        ),
        (
            THERE | {"fast": "no driver answers"},
            AUTO,
            "fp16",
            "no engine here runs the precision fp16, fast would: take --precision auto",
        ),
        (THERE, AUTO, "bf16", "no engine here runs the precision bf16, none would: take --precision auto"),
        (
            THERE,
            "plain",
            "fp16",
            "the engine plain runs none of the package's precisions that were asked for (fp16; it has "
            "bf16, fp16, fp32): take --precision auto",
        ),
    ],
)
def test_what_is_said(absences: dict[str, str | None], engine: str, precision: str, said: str) -> None:
    with pytest.raises(EngineError) as caught:
        candidates(KINDS, absences, ("fp32", "fp16", "bf16"), engine, precision)
    assert str(caught.value) == said


def test_a_candidate_reads_as_its_words() -> None:
    assert str(Candidate("openvino", "int8")) == "openvino int8"
