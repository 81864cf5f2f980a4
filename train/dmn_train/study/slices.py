"""Single slices of a study's protocols: which are shown, and what each arm makes of them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.metrics import POSITIVE, iou
from dmn_runtime.tiles import grey_threshold
from dmn_train.run import load_run
from dmn_train.study.collect import Collection
from dmn_train.study.mistakes import Mistakes, mistakes
from dmn_train.study.predict import predict
from dmn_train.study.report_sections import QualitativeSection
from dmn_train.study.result import Result
from dmn_train.study.sections import ArmSection, ProtocolSection, Study
from dmn_train.study.test_volume import TestVolume

KINDS = ("best", "median", "worst")


@dataclass(frozen=True)
class Shown:
    """What an arm makes of a slice.

    Attributes:
        found: predicted foreground, yx, the whole slice.
        mistakes: beside the truth.
    """

    found: NDArray[np.bool_]
    mistakes: Mistakes


@dataclass(frozen=True)
class ShownSlice:
    """A slice that is shown.

    Attributes:
        kind: one of `KINDS`.
        z: the slice.
        arms: those that take part in the protocol, in the order of the study file; None while an arm has no
            finished run of the seed.
    """

    kind: str
    z: int
    arms: tuple[tuple[ArmSection, Shown | None], ...]

    @property
    def last(self) -> Mistakes:
        """Mistakes of the arm that chose the slice."""
        shown = self.arms[-1][1]
        assert shown is not None
        return shown.mistakes


@dataclass(frozen=True)
class ProtocolSlices:
    """The slices of a protocol; none while the last arm has no finished run of the seed there."""

    protocol: ProtocolSection
    slices: tuple[ShownSlice, ...]


def slices_of(
    study: Study, section: QualitativeSection, collection: Collection, tests: Mapping[str, TestVolume]
) -> tuple[ProtocolSlices, ...]:
    """Choose and predict the slices of every protocol that the last arm takes part in.

    Raises:
        DmnError: a run is damaged, or a test volume cannot be read.
    """
    last = study.arm_named(section.arms[-1])
    return tuple(
        ProtocolSlices(
            protocol,
            _slices(
                _taking_part(study, section, protocol),
                _runs(collection, protocol, section),
                tests[protocol.name],
            ),
        )
        for protocol in study.protocol
        if last in study.arms_of(protocol)
    )


def _runs(
    collection: Collection, protocol: ProtocolSection, section: QualitativeSection
) -> dict[str, Result]:
    return {
        result.arm: result
        for result in collection.results
        if (result.protocol, result.fraction, result.seed) == (protocol.name, None, section.seed)
    }


def _taking_part(
    study: Study, section: QualitativeSection, protocol: ProtocolSection
) -> tuple[ArmSection, ...]:
    there = study.arms_of(protocol)
    return tuple(arm for name in section.arms if (arm := study.arm_named(name)) in there)


def _slices(
    arms: tuple[ArmSection, ...], runs: dict[str, Result], test: TestVolume
) -> tuple[ShownSlice, ...]:
    last = runs.get(arms[-1].name)
    if last is None:
        return ()
    chosen = choose(last.score.per_slice, test)
    found = {name: _found(runs[name], test, chosen) for name in (arm.name for arm in arms) if name in runs}

    def shown(name: str, z: int) -> Shown | None:
        if name not in found:
            return None
        return Shown(found[name][z], mistakes(found[name][z], test.classes[z], test.image.voxel_nm[1:]))

    return tuple(
        ShownSlice(kind, z, tuple((arm, shown(arm.name, z)) for arm in arms))
        for kind, z in zip(KINDS, chosen, strict=True)
    )


def choose(per_slice: NDArray[np.int64], test: TestVolume) -> tuple[int, int, int]:
    """Return the slices of the highest, the median and the lowest foreground IoU.

    Slices without true foreground are left out while there are others: their IoU is 0 or 1 whatever is seen.
    Of an even number the better middle one is the median; equals stand in the order of the volume.

    Args:
        per_slice: int64 (slices, 4) of `Score`.
        test: the volume that was tested.
    """
    ious = dict(zip(test.slices, iou(per_slice).tolist(), strict=True))
    labelled = [z for z in test.slices if (test.classes[z] == POSITIVE).any()] or test.slices
    ranked = sorted(labelled, key=lambda z: (-ious[z], z))
    return ranked[0], ranked[(len(ranked) - 1) // 2], ranked[-1]


def _found(result: Result, test: TestVolume, slices: tuple[int, ...]) -> dict[int, NDArray[np.bool_]]:
    run = load_run(result.folder)
    limit = grey_threshold(run.threshold)
    return {z: grey >= limit for z, grey in predict(run, run.network(), test, sorted(set(slices)))}
