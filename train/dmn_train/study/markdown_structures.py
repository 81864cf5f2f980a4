"""The report's table of objects and boundaries, one a protocol."""

from collections.abc import Callable, Mapping

from dmn_runtime.objects import FLOOR_VOXELS, MATCH_IOU
from dmn_train.study.collect import Collection
from dmn_train.study.components import LEAST_AREA_NM2
from dmn_train.study.contours import TOLERANCE_NM
from dmn_train.study.markdown_cells import spread_cell
from dmn_train.study.markdown_table import table
from dmn_train.study.sections import ProtocolSection, Study
from dmn_train.study.structure import Structure
from dmn_train.study.summary import Spread, spread

_READING = f"""\
PQ = RQ x SQ of 3-D objects of {FLOOR_VOXELS} voxels and more, matched at an IoU above {MATCH_IOU:g}.
Betti-0 error: |pieces found - true pieces|, pieces of {LEAST_AREA_NM2:,.0f} nm² and more, mean over slices;
less is better. NSD: share of the outlines within {TOLERANCE_NM:g} nm of the other's, mean over slices.
Definitions: docs/study.md. Mean ± standard deviation over seeds (number of seeds); difference to
`{{baseline}}` seed by seed."""

BySeed = Mapping[int, Structure]
Figure = Callable[[Structure], float | None]


def objects_and_boundaries(protocol: ProtocolSection, study: Study, collection: Collection) -> str:
    """Return the section of a protocol; "" where nothing of it was scored for structure."""
    arms = study.arms_of(protocol)
    found = {arm.name: _by_seed(collection, protocol.name, arm.name) for arm in arms}
    true = {one.objects_true for by_seed in found.values() for one in by_seed.values()}
    if not true:
        return ""
    baseline = found.get(study.baseline, {})
    minus = f"minus `{study.baseline}`"
    # All runs of a protocol are scored on the same labels.
    objects = f"objects found ({', '.join(map(str, sorted(true)))} true)"
    names = ["method", "PQ", minus, "RQ", "SQ", objects, "Betti-0 error", "NSD", minus]
    rows = [
        [arm.words, *_cells(found[arm.name], {} if arm.name == study.baseline else baseline)] for arm in arms
    ]
    reading = _READING.format(baseline=study.baseline)
    return "\n\n".join(["### Objects and boundaries", reading, table(names, rows)])


def _by_seed(collection: Collection, protocol: str, arm: str) -> BySeed:
    return {
        result.seed: result.structure
        for result in collection.results
        if (result.protocol, result.arm, result.fraction) == (protocol, arm, None)
        and result.structure is not None
    }


def _cells(of_arm: BySeed, baseline: BySeed) -> list[str]:
    return [
        spread_cell(_spread(of_arm, _pq)),
        spread_cell(_minus(of_arm, baseline, _pq), signed=True),
        spread_cell(_spread(of_arm, lambda one: one.objects.rq)),
        spread_cell(_spread(of_arm, lambda one: one.objects.sq)),
        spread_cell(_spread(of_arm, lambda one: one.objects_found), digits=1),
        spread_cell(_spread(of_arm, lambda one: one.betti0_error), digits=2),
        spread_cell(_spread(of_arm, _nsd)),
        spread_cell(_minus(of_arm, baseline, _nsd), signed=True),
    ]


def _pq(structure: Structure) -> float:
    return structure.objects.pq


def _nsd(structure: Structure) -> float | None:
    return structure.nsd


def _spread(by_seed: BySeed, figure: Figure) -> Spread | None:
    """Return the spread of a figure over the seeds where it is defined; None without one."""
    defined = _defined(by_seed, figure)
    return spread(defined) if defined else None


def _minus(of_arm: BySeed, other: BySeed, figure: Figure) -> Spread | None:
    """Return the spread of a figure less the other arm's of the same seed; None without a seed of both."""
    ours, theirs = _defined(of_arm, figure), _defined(other, figure)
    both = {seed: value - theirs[seed] for seed, value in ours.items() if seed in theirs}
    return spread(both) if both else None


def _defined(by_seed: BySeed, figure: Figure) -> dict[int, float]:
    figures = {seed: figure(structure) for seed, structure in by_seed.items()}
    return {seed: value for seed, value in figures.items() if value is not None}
