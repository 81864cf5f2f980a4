"""What a training run is given and never changes."""

from dataclasses import dataclass
from pathlib import Path

from lightning_fabric import Fabric

from dmn_train.material import Material
from dmn_train.recipe import PlacedRecipe, Recipe
from dmn_train.start import Start


@dataclass(frozen=True)
class Given:
    """What a training run is given.

    Attributes:
        placed: the recipe and its folder.
        folder: the run folder.
        fabric: devices and precision.
        material: the data.
        start: the first weights.
        label_solidity: mean solidity of the source's labels; None without a target to compare it with.
    """

    placed: PlacedRecipe
    folder: Path
    fabric: Fabric
    material: Material
    start: Start
    label_solidity: float | None

    @property
    def recipe(self) -> Recipe:
        """The recipe."""
        return self.placed.recipe

    @property
    def leads(self) -> bool:
        """Tell whether this process has the first of the devices; it alone writes."""
        return bool(self.fabric.is_global_zero)
