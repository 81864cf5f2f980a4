"""What can be said of a package without a label of the target: four numbers, each with its lines."""

from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import NDArray
from torch import Tensor

from dmn_train.alarms import LEAST_OF_SOURCE, MOST_OF_SOURCE
from dmn_train.curves import last_value
from dmn_train.foreground_bound import bounded_share
from dmn_train.label_free import LEAST_OBJECT_PX, mean_entropy, mean_solidity
from dmn_train.mask import FOREGROUND
from dmn_train.material import unaugmented
from dmn_train.run import CURVES, Run
from dmn_train.stacks import Stack, TargetStack
from dmn_train.student.agreement import agreement, tiles_of
from dmn_train.validate import THRESHOLD

Verdict = Literal["good", "look closer", "alarming"]

GOOD_AGREEMENT, LEAST_AGREEMENT = 0.85, 0.70
GOOD_ENTROPY, MOST_ENTROPY = 0.15, 0.30
GOOD_SHARE = (0.5, 1.5)
"""Times the source's. Seed 0 of three directions: 1.1 (EPFL to VNC), where the foreground was right, 1.9 (VNC
to EPFL) and 2.5 (EPFL to CDeep3M), where it was 1.6 and 2 times the truth."""
NEARLY_ALL = 0.9
GOOD_SOLIDITY, MOST_SOLIDITY = 0.03, 0.06
"""Of the difference. EPFL to VNC, fg IoU 0.50 to 0.59, had 0.014 to 0.041; EPFL to CDeep3M, 0.23 to 0.45, had
0.055 to 0.072 (one seed each)."""

CAVEAT = (
    "none of this replaces labels: a network can be sure, steady and wrong; outline the objects of three to "
    "five slices of the target and run dmn evaluate, which alone says how good the segmentation is"
)


@dataclass(frozen=True)
class Signs:
    """What was measured on tiles of the target.

    Attributes:
        agreement: IoU of the network's masks with those of its judge.
        judged_by_teacher: whether the judge is the teacher, or the network itself over eight turned views.
        entropy: of the pixels over that of the mean pixel, 0 to 1.
        target_share: share of the tiles that is foreground.
        source_share: share of the source's labelled voxels that is, above 0.
        bound: share that it may be at most; None is no bound.
        raised: whether the threshold had to be raised for it.
        cut: whether the labels that it taught itself with were still cut to it in the last step.
        solidity: of the objects found; None without an object.
        source_solidity: of the source's labels; None without an object.
        tiles: how many.
    """

    agreement: float
    judged_by_teacher: bool
    entropy: float
    target_share: float
    source_share: float
    bound: float | None
    raised: bool
    cut: bool
    solidity: float | None
    source_solidity: float | None
    tiles: int


@dataclass(frozen=True)
class Finding:
    """One sign in words.

    Attributes:
        name: for people.
        value: what was measured; None: it could not be.
        verdict: on which side of its lines the value lies.
        sentence: what it is, in words, with its lines.
    """

    name: str
    value: float | None
    verdict: Verdict
    sentence: str


def measure_signs(final: Run, adapted: Run) -> Signs:
    """Measure a network on tiles of its target and on the labels of its source.

    Args:
        final: the run that is packed.
        adapted: the teacher's; the same run where nothing was distilled.

    Raises:
        DmnError: the volumes or the weights cannot be read.
    """
    stacks = [stack for stack, _ in unaugmented(final.placed, 8)]
    tiles = tiles_of([stack for stack in stacks if isinstance(stack, TargetStack)], final.spec)
    thresholds = (adapted.threshold, final.threshold)
    found = agreement(adapted.network(), final.network(), tiles, thresholds=thresholds)
    masks = found.student >= final.threshold
    source_share = final.domain.foreground_share
    shift = last_value(adapted.folder / CURVES, "foreground_shift")
    labels = [mask == FOREGROUND for stack in stacks if isinstance(stack, Stack) for mask in stack.mask]
    return Signs(
        agreement=found.iou,
        judged_by_teacher=final.folder != adapted.folder,
        entropy=mean_entropy(_slices(found.student)),
        target_share=float(masks.float().mean()),
        source_share=source_share,
        bound=bounded_share(final.placed.recipe.select.most_foreground, source_share),
        raised=final.threshold > THRESHOLD,
        cut=shift is not None and shift > 0.0,
        solidity=mean_solidity(_slices(masks), LEAST_OBJECT_PX),
        source_solidity=mean_solidity(labels, LEAST_OBJECT_PX),
        tiles=len(tiles.images),
    )


def _slices(maps: Tensor) -> list[NDArray[Any]]:
    return [one[0].numpy() for one in maps]


def findings(signs: Signs) -> tuple[Finding, ...]:
    """Return the signs in words, in the order in which they are told."""
    return (_agreement(signs), _certainty(signs), _share(signs), _shape(signs))


def _agreement(signs: Signs) -> Finding:
    value = signs.agreement
    on = f"on {signs.tiles} tiles of the target"
    if signs.target_share == 0.0 or signs.target_share > NEARLY_ALL:
        # The IoU of two empty masks is 1, that of two full ones nearly so, and neither is a good sign.
        finds = "no foreground" if signs.target_share == 0.0 else f"foreground in {signs.target_share:.0%}"
        return Finding("agreement", value, "alarming", f"the packed network finds {finds} {on}")
    two, shown, both = "the packed network or its large teacher", "", "is called so by both"
    if not signs.judged_by_teacher:
        two, shown, both = "the packed network", ", as they are or turned", "is called so both ways"
    return Finding(
        "agreement",
        value,
        _at_least(value, GOOD_AGREEMENT, LEAST_AGREEMENT),
        f"of all that {two} calls foreground {on}{shown}, {value:.0%} {both} (good from "
        f"{GOOD_AGREEMENT:.0%}, alarming below {LEAST_AGREEMENT:.0%})",
    )


def _certainty(signs: Signs) -> Finding:
    value = signs.entropy
    verdict = _at_least(-value, -GOOD_ENTROPY, -MOST_ENTROPY)
    return Finding(
        "uncertainty",
        value,
        verdict,
        f"{value:.2f} on a scale from 0, sure of every pixel, to 1, knows nothing (good up to "
        f"{GOOD_ENTROPY:g}, alarming above {MOST_ENTROPY:g}; certain mistakes do not show here)",
    )


def _share(signs: Signs) -> Finding:
    times = signs.target_share / signs.source_share
    tiles = f"{signs.tiles} tiles of the target"
    low, high = GOOD_SHARE
    within = LEAST_OF_SOURCE <= times <= MOST_OF_SOURCE
    good = low <= times <= high and not (signs.raised or signs.cut)
    verdict: Verdict = "good" if good else "look closer" if within else "alarming"
    return Finding(
        "foreground",
        signs.target_share,
        verdict,
        f"{signs.target_share:.1%} of {tiles} is found to be foreground, {times:.2f} times the "
        f"{signs.source_share:.1%} of the source's labels (good from {low:g} to {high:g} times, alarming "
        f"below {LEAST_OF_SOURCE:g} or above {MOST_OF_SOURCE:g}; tissues may differ by as much)"
        + _bound_words(signs, times > high),
    )


def _bound_words(signs: Signs, much: bool) -> str:
    """Return what there is to do about the bound, for the end of a sentence."""
    if signs.raised or signs.cut:
        done = "the threshold was raised" if signs.raised else "what it taught itself with was cut"
        of = "" if signs.bound is None else f" of {signs.bound:.1%}"
        return (
            f"; {done} to keep to the bound{of}: if the target may hold more, begin anew "
            "with a higher --most-foreground"
        )
    if not much:
        return ""
    lower = f"{GOOD_SHARE[1]:g}x" if signs.bound is None else "and a lower share"
    return f"; if there cannot be so much, begin anew with --most-foreground {lower}"


def _shape(signs: Signs) -> Finding:
    if signs.solidity is None or signs.source_solidity is None:
        where = "the target" if signs.solidity is None else "the source's labels"
        sentence = f"no object of {LEAST_OBJECT_PX} px or more in {where}, so there are no shapes to compare"
        return Finding("shape", signs.solidity, "alarming", sentence)
    apart = abs(signs.solidity - signs.source_solidity)
    return Finding(
        "shape",
        signs.solidity,
        _at_least(-apart, -GOOD_SOLIDITY, -MOST_SOLIDITY),
        f"the objects found fill {signs.solidity:.1%} of their convex outlines and those of the source's "
        f"labels {signs.source_solidity:.1%} (good within {GOOD_SOLIDITY:.0%}, alarming beyond "
        f"{MOST_SOLIDITY:.0%}: ragged objects are pieces or clumps)",
    )


def _at_least(value: float, good: float, least: float) -> Verdict:
    """Return the verdict on a value of which more is better."""
    return "good" if value >= good else "look closer" if value >= least else "alarming"
