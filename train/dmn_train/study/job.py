"""What a study trains: one job a run folder, with everything about it decided."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dmn_train.recipe import PlacedRecipe, parse_recipe


@dataclass(frozen=True)
class Job:
    """One run of the study.

    Attributes:
        id: `V-ind/mmd/seed0`, `shared/strong/seed0`, `SOURCE/strong/seed0` or `V-x/dann-f0.05/seed0`.
        protocols: names of the protocols that test it.
        arm: name of the arm.
        fraction: share of the target's labels it was fine-tuned on; None without fine-tuning.
        seed: of the run.
        recipe: its recipe with paths that start from `folder.parent`; None for a run taken as it is.
        folder: of the run; recipe and log lie beside it.
        depends_on: ids of the jobs whose runs it starts from or learns from.
    """

    id: str
    protocols: tuple[str, ...]
    arm: str
    fraction: float | None
    seed: int
    recipe: dict[str, Any] | None
    folder: Path
    depends_on: tuple[str, ...]

    @property
    def placed(self) -> PlacedRecipe | None:
        """The recipe, checked, and the folder that its paths start from; None for a run taken as it is."""
        if self.recipe is None:
            return None
        return PlacedRecipe(parse_recipe(self.recipe, self.id), self.folder.parent)

    @property
    def recipe_file(self) -> Path:
        """Where the recipe is written."""
        return self.folder.with_name(f"{self.folder.name}.toml")

    @property
    def log_file(self) -> Path:
        """Where the training's words are kept."""
        return self.folder.with_name(f"{self.folder.name}.log")
