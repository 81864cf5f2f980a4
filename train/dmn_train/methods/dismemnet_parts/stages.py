"""Which parts of dismemnet work when: pure functions of how much of the run is done.

translation: the generator learns; its images serve nothing yet.
bank: the network learns on them, and the memory fills from labelled crops.
joint: everything.
"""

from typing import Literal, NamedTuple

from dmn_train.sections import DismemnetSection

Stage = Literal["translation", "bank", "joint"]


def stage_of(progress: float, section: DismemnetSection) -> Stage:
    """Return the stage at `progress`, 0 to 1; a stage whose part is switched off has no length."""
    translated, filled = stage_ends(section)
    if progress < translated:
        return "translation"
    return "bank" if progress < filled else "joint"


def stage_ends(section: DismemnetSection) -> tuple[float, float]:
    """Return the shares of the run at which the stages translation and bank end."""
    stages = section.stages
    translated = stages.translation if section.translation.kind == "gated" else 0.0
    return translated, translated + (stages.bank if section.memory.kind != "none" else 0.0)


def learning_progress(progress: float, section: DismemnetSection) -> float:
    """Return how much is done of what the network takes part in, 0 to 1: it may wait for the generator."""
    waited = stage_ends(section)[0] if section.stages.student_waits else 0.0
    return max(0.0, (progress - waited) / (1.0 - waited))


def generator_learns(step: int, progress: float, section: DismemnetSection) -> bool:
    """Tell whether the generator learns in step number `step`, from 0.

    It does in every step of the stage translation, then in every `every`-th, and after `until` in none.
    """
    translation = section.translation
    if translation.kind != "gated" or progress >= translation.until:
        return False
    return stage_of(progress, section) == "translation" or step % translation.every == 0


class Moment(NamedTuple):
    """A moment of a run.

    Attributes:
        progress: share of the steps that is done, 0 to 1.
        share: of what the network takes part in, likewise.
        stage: the stage.
    """

    progress: float
    share: float
    stage: Stage


def moment_at(progress: float, section: DismemnetSection) -> Moment:
    """Return the moment at `progress`, 0 to 1."""
    return Moment(progress, learning_progress(progress, section), stage_of(progress, section))
