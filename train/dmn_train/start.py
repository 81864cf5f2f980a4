"""Where a run's weights start: at random, or at those of a finished run (`[init]` of a recipe)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from dmn_runtime.errors import RecipeError
from dmn_train.domains import DomainNetwork
from dmn_train.recipe import PlacedRecipe
from dmn_train.run import load_run


@dataclass(frozen=True)
class Start:
    """The first weights of a run.

    Attributes:
        weights: state of the network; None starts at random.
        facts: for run.json: name, method, seed, steps and weights_sha256 of the run; None likewise.
    """

    weights: dict[str, Tensor] | None
    facts: dict[str, Any] | None

    @property
    def fingerprints(self) -> list[str]:
        """What a resumed run must find again."""
        return [] if self.facts is None else [self.facts["weights_sha256"]]

    def load_into(self, network: DomainNetwork) -> None:
        """Put the weights into `network`; both domains start with the statistics that come with them."""
        if self.weights is not None:
            network.network.load_state_dict(self.weights)
            network.take_statistics()


def find_start(placed: PlacedRecipe) -> Start:
    """Read the run that a recipe starts from.

    Raises:
        RunError: it is no finished run, or damaged.
        RecipeError: its network or its working voxel size is another one.
    """
    recipe = placed.recipe
    if recipe.init is None:
        return Start(None, None)
    run = load_run(Path(placed.locate(recipe.init.run)))
    found, wanted = (run.spec, run.working_voxel_nm), (recipe.network.spec, recipe.working_voxel_nm)
    if found != wanted:
        raise RecipeError(
            f"init.run {recipe.init.run} has {found[0]} at {found[1]} nm and the recipe wants {wanted[0]} at "
            f"{wanted[1]} nm: start from a run of the same network and working_voxel_nm"
        )
    facts = {key: run.facts[key] for key in ("name", "method", "seed", "steps", "weights_sha256")}
    return Start(run.network().state_dict(), facts)
