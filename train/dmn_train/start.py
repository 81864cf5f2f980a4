"""Where a run starts: at random weights or those of a finished run (`[init]`), and who teaches it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from dmn_runtime.errors import RecipeError
from dmn_train.domains import DomainNetwork
from dmn_train.recipe import PlacedRecipe, Recipe
from dmn_train.run import load_run
from dmn_train.student.teacher_run import TeacherRun, find_teacher


@dataclass(frozen=True)
class Start:
    """The first weights of a run, and its teacher.

    Attributes:
        weights: state of the network; None starts at random.
        facts: for run.json: name, method, seed, steps and weights_sha256 of the run; None likewise.
        teacher: the run that teaches it; None where the method has no such teacher.
    """

    weights: dict[str, Tensor] | None
    facts: dict[str, Any] | None
    teacher: TeacherRun | None = None

    @property
    def fingerprints(self) -> list[str]:
        """What a resumed run must find again."""
        sources = (self.facts, self.teacher.facts if self.teacher else None)
        return [facts["weights_sha256"] for facts in sources if facts is not None]

    def load_into(self, network: DomainNetwork) -> None:
        """Put the weights into `network`; both domains start with the statistics that come with them."""
        if self.weights is not None:
            network.network.load_state_dict(self.weights)
            network.take_statistics()


def find_start(placed: PlacedRecipe) -> Start:
    """Read the run that a recipe starts from, and the one that teaches it.

    Raises:
        RunError: it is no finished run, or damaged.
        RecipeError: its network, its working voxel size or its normalisation is another one, or it was
            trained on what the recipe holds out.
    """
    recipe = placed.recipe
    if recipe.init is None:
        return Start(None, None, find_teacher(placed))
    run = load_run(Path(placed.locate(recipe.init.run)))
    for key, found, wanted in (
        ("network", run.spec, recipe.network.spec),
        ("working_voxel_nm", run.working_voxel_nm, recipe.working_voxel_nm),
        ("normalisation", run.normalisation, recipe.normalisation.rule),
    ):
        if found != wanted:
            raise RecipeError(
                f"init.run {recipe.init.run} has {key} {found} and the recipe wants {wanted}: "
                "start from a run that sees the same input with the same network"
            )
    if _has_seen(recipe, run.placed.recipe):
        raise RecipeError(
            f"init.run {recipe.init.run} was trained on slices that validate.slices now holds out: "
            "hold out slices that it held out as well"
        )
    facts = {key: run.facts[key] for key in ("name", "method", "seed", "steps", "weights_sha256")}
    return Start(run.network().state_dict(), facts, find_teacher(placed))


def _has_seen(recipe: Recipe, of_start: Recipe) -> bool:
    """Tell whether a start was trained on labels of slices that are now to judge what was learned."""
    now, then = recipe.data.source, of_start.data.source
    if recipe.validate_ is None or recipe.validate_.slices is None or now.image is None or then.image is None:
        return False
    if Path(now.image).parts[-2:] != Path(then.image).parts[-2:]:
        return False
    held_out = of_start.validate_.slices if of_start.validate_ else None
    judging = range(*recipe.validate_.slices)
    used, spared = range(*(then.slices or (0, judging.stop))), range(*(held_out or (0, 0)))
    return any(z in used and z not in spared for z in judging)
