"""The quality sentences on both sides of each of their lines."""

from dataclasses import replace

import pytest

from dmn_export.adapt.quality import CAVEAT, Signs, findings
from dmn_export.adapt.quality_report import Alarm, quality_lines

GOOD = Signs(
    agreement=0.9,
    judged_by_teacher=True,
    entropy=0.1,
    target_share=0.06,
    source_share=0.05,
    bound=0.075,
    raised=False,
    cut=False,
    solidity=0.95,
    source_solidity=0.96,
    tiles=24,
)


@pytest.mark.parametrize(
    ("index", "sign", "value", "verdict"),
    [
        (0, "agreement", 0.851, "good"),
        (0, "agreement", 0.849, "look closer"),
        (0, "agreement", 0.701, "look closer"),
        (0, "agreement", 0.699, "alarming"),
        (1, "entropy", 0.149, "good"),
        (1, "entropy", 0.151, "look closer"),
        (1, "entropy", 0.299, "look closer"),
        (1, "entropy", 0.301, "alarming"),
        (2, "target_share", 0.0099, "alarming"),
        (2, "target_share", 0.0101, "look closer"),
        (2, "target_share", 0.0249, "look closer"),
        (2, "target_share", 0.0251, "good"),
        (2, "target_share", 0.0749, "good"),
        (2, "target_share", 0.0751, "look closer"),
        (2, "target_share", 0.2499, "look closer"),
        (2, "target_share", 0.2501, "alarming"),
        (3, "solidity", 0.989, "good"),
        (3, "solidity", 0.931, "good"),
        (3, "solidity", 0.929, "look closer"),
        (3, "solidity", 0.901, "look closer"),
        (3, "solidity", 0.899, "alarming"),
        (3, "solidity", None, "alarming"),
    ],
)
def test_each_sign_has_its_lines(index: int, sign: str, value: float | None, verdict: str) -> None:
    found = findings(replace(GOOD, **{sign: value}))  # type: ignore[arg-type]
    assert found[index].verdict == verdict
    assert [one.verdict for i, one in enumerate(found) if i != index] == ["good"] * 3


def test_the_words_are_for_a_microscopist() -> None:
    agreement, uncertainty, foreground, shape = (one.sentence for one in findings(GOOD))
    assert agreement == (
        "of all that the packed network or its large teacher calls foreground on 24 tiles of the target, 90% "
        "is called so by both (good from 85%, alarming below 70%)"
    )
    assert "0.10 on a scale from 0, sure of every pixel, to 1, knows nothing" in uncertainty
    assert "certain mistakes do not show here" in uncertainty
    assert foreground == (
        "6.0% of 24 tiles of the target is found to be foreground, 1.20 times the 5.0% of the source's "
        "labels (good from 0.5 to 1.5 times, alarming below 0.2 or above 5; tissues may differ by as much)"
    )
    assert "--most-foreground" not in foreground
    much = findings(replace(GOOD, target_share=0.08))[2].sentence
    assert much.endswith("; if there cannot be so much, begin anew with --most-foreground and a lower share")
    free = findings(replace(GOOD, target_share=0.08, bound=None))[2].sentence
    assert free.endswith("; if there cannot be so much, begin anew with --most-foreground 1.5x")
    assert shape.startswith("the objects found fill 95.0% of their convex outlines and those of the source's")
    alone = findings(replace(GOOD, judged_by_teacher=False))[0].sentence
    assert alone == (
        "of all that the packed network calls foreground on 24 tiles of the target, as they are or turned, "
        "90% is called so both ways (good from 85%, alarming below 70%)"
    )


@pytest.mark.parametrize(
    ("raised", "cut", "done"),
    [
        (True, False, "the threshold was raised"),
        (True, True, "the threshold was raised"),
        (False, True, "what it taught itself with was cut"),
    ],
)
def test_a_bound_that_holds_something_back_is_told(raised: bool, cut: bool, done: str) -> None:
    held = findings(replace(GOOD, raised=raised, cut=cut))[2]
    assert held.verdict == "look closer"
    assert held.sentence.endswith(
        f"; {done} to keep to the bound of 7.5%: if the target may hold more, begin anew with a higher "
        "--most-foreground"
    )


def test_a_bound_on_the_labels_alone_is_told_too() -> None:
    held = findings(replace(GOOD, bound=None, cut=True))[2]
    assert held.verdict == "look closer"
    assert "; what it taught itself with was cut to keep to the bound: if the target may" in held.sentence


@pytest.mark.parametrize(("share", "finds"), [(0.0, "no foreground"), (0.97, "foreground in 97%")])
def test_to_agree_on_nothing_or_on_everything_is_no_good_sign(share: float, finds: str) -> None:
    found = findings(replace(GOOD, agreement=1.0, target_share=share, source_share=0.5))[0]
    assert found.verdict == "alarming"
    assert found.sentence == f"the packed network finds {finds} on 24 tiles of the target"


@pytest.mark.parametrize(
    ("missing", "where"), [("solidity", "the target"), ("source_solidity", "the source's labels")]
)
def test_without_objects_there_are_no_shapes(missing: str, where: str) -> None:
    shape = findings(replace(GOOD, **{missing: None}))[3]  # type: ignore[arg-type]
    assert shape.sentence == f"no object of 50 px or more in {where}, so there are no shapes to compare"


def test_the_report_repeats_alarms_and_ends_with_what_it_is_not() -> None:
    lines = quality_lines(findings(GOOD), [Alarm("adapt", "hardly certain", "the teacher is sure of 0.1%")])
    assert lines[0] == "quality, estimated without a label of the target:"
    assert [line.split()[0] for line in lines[1:5]] == ["agreement", "uncertainty", "foreground", "shape"]
    assert lines[5] == "  alarm of stage adapt: hardly certain"
    assert lines[6].startswith("  in all, alarming: look at the preview of dmn infer before anything else")
    assert lines[7] == f"  {CAVEAT}"
    assert "none of this replaces labels" in CAVEAT


@pytest.mark.parametrize(
    ("signs", "said"),
    [
        ({}, "in all, good: nothing that can be measured without labels speaks against it"),
        ({"entropy": 0.2}, "in all, look closer: look at the preview of dmn infer, all over the volume"),
        ({"entropy": 0.2, "solidity": 0.5}, "in all, alarming: look at the preview of dmn infer before"),
    ],
)
def test_the_worst_sign_says_what_to_do(signs: dict[str, float], said: str) -> None:
    found = findings(replace(GOOD, **signs))  # type: ignore[arg-type]
    assert quality_lines(found, [])[-2].startswith(f"  {said}")
