"""What arms need of each other: in which order they come, and on which sources a shared one is trained."""

from dmn_runtime.errors import RecipeError
from dmn_train.study.placed import PlacedStudy
from dmn_train.study.sections import ArmSection, Study


def in_order_of_dependence(placed: PlacedStudy) -> list[ArmSection]:
    """Return a study's arms, each after those that it starts from and is taught by.

    Raises:
        RecipeError: arms need each other, or a run that there will not be.
    """
    ordered: list[ArmSection] = []
    waiting = list(placed.study.arm)
    while waiting:
        done = {arm.name for arm in ordered}
        ready = [arm for arm in waiting if done.issuperset(arm.starts.values())]
        if not ready:
            names = " and ".join(arm.name for arm in waiting)
            raise RecipeError(
                f"{placed.path}: the arms {names} start from each other: change an init or a teacher"
            )
        ordered += ready
        waiting = [arm for arm in waiting if arm not in ready]
    for arm in ordered:
        for key, name in arm.starts.items():
            _check_start(placed, arm, key, placed.study.arm_named(name))
    return ordered


def _check_start(placed: PlacedStudy, arm: ArmSection, key: str, start: ArmSection) -> None:
    """Refuse a start from a run that will not be there."""
    if arm.shared and not start.is_shared:
        raise RecipeError(
            f"{placed.path}: arm {arm.name} is shared, so its {key} {start.name} must be shared too"
        )
    if start.is_shared:
        return
    there = placed.study.protocols_of(start)
    missing = [protocol.name for protocol in placed.study.protocols_of(arm) if protocol not in there]
    if missing:
        raise RecipeError(
            f"{placed.path}: arm {arm.name} has the {key} {start.name}, which leaves out {missing[0]}: "
            "give both the same protocols"
        )


def sources_of(study: Study, arm: ArmSection) -> list[str | None]:
    """Return the sources that a shared arm is trained on, None for the base recipe's, in the study's order.

    They are those of its protocols, and of all that starts from it or is taught by it; an arm without either
    has the base recipe's.
    """
    needed = _needed(study, arm) or {None}
    return [name for name in (None, *(source.name for source in study.source)) if name in needed]


def _needed(study: Study, arm: ArmSection) -> set[str | None]:
    needed = {protocol.source for protocol in study.protocols_of(arm)}
    for other in study.arm:
        if arm.name in other.starts.values():
            needed |= _needed(study, other)
    return needed
