"""The run folder: what a training run leaves behind and how it is read back (docs/training.md).

run.json             everything about the run; written last, so that its presence means a finished run
weights.safetensors  the final weights (the averaged ones, where the recipe averages)
curves.csv           step,name,value
overlays/            PNG
checkpoint.safetensors and started.json exist only while a run is unfinished
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from dmn_runtime.contract import Domain, Normalisation
from dmn_runtime.errors import RunError
from dmn_runtime.geometry import Spacing
from dmn_train.files import file_sha256
from dmn_train.networks.sizes import NetworkSpec
from dmn_train.networks.unet import UNet
from dmn_train.recipe import PlacedRecipe, parse_recipe

FORMAT = "dmn-run"
FORMAT_VERSION = 2
RUN_JSON = "run.json"
WEIGHTS = "weights.safetensors"
CURVES = "curves.csv"
OVERLAYS = "overlays"
CHECKPOINT = "checkpoint.safetensors"
STARTED_JSON = "started.json"


@dataclass(frozen=True)
class Run:
    """A finished training run.

    Attributes:
        folder: the run folder.
        name: the recipe's name.
        description: the recipe's, one sentence or empty.
        class_name: what the foreground is, as the recipe has it.
        method: name of the training method.
        spec: the network's facts.
        voxel_nm: voxel size of the training domain's raw data, zyx.
        working_voxel_nm: in-plane voxel size that the network works at; None = the data's own.
        normalisation: the rule; the maps of the volumes are in `facts`.
        threshold: probability from which a voxel is foreground.
        domain: statistics of the training domain.
        placed: the resolved recipe and the folder that its paths start from.
        facts: run.json whole: data fingerprints, library versions, seed, steps, device, validation, ...
    """

    folder: Path
    name: str
    description: str
    class_name: str
    method: str
    spec: NetworkSpec
    voxel_nm: Spacing
    working_voxel_nm: float | None
    normalisation: Normalisation
    threshold: float
    domain: Domain
    placed: PlacedRecipe
    facts: dict[str, Any]

    def network(self) -> UNet:
        """Build the network with the run's weights: float32, on the CPU, in eval mode.

        Raises:
            RunError: the weights are missing, damaged or not this run's.
        """
        path = self.folder / WEIGHTS
        try:
            if file_sha256(path) != self.facts["weights_sha256"]:
                raise RunError(f"{path} differs from what {RUN_JSON} records (sha256): train again")
            weights = load_file(path)
        except (OSError, SafetensorError) as error:
            raise RunError(f"{path} cannot be read ({error}): train again") from error
        network = UNet(self.spec)
        try:
            network.load_state_dict(weights)
        except RuntimeError as error:
            raise RunError(f"{path} does not hold the weights of {self.spec}: train again") from error
        return network.eval()


def load_run(folder: Path) -> Run:
    """Read a finished run.

    Raises:
        RunError: the folder is missing, unfinished, of a newer version or damaged.
    """
    path = folder / RUN_JSON
    if not path.is_file():
        if (folder / STARTED_JSON).is_file():
            raise RunError(f"{folder} holds an unfinished run: finish it with dmn train ... --resume")
        raise RunError(f"{folder} is no run folder (it has no {RUN_JSON}): make one with dmn train")
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        kind, version = facts["format"], facts["format_version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} is damaged ({error}): train again") from error
    if (kind, version) == (FORMAT, 1):
        version = _raise_to_version_2(facts)
    if (kind, version) != (FORMAT, FORMAT_VERSION):
        raise RunError(f"{path} is {kind} version {version}, wanted {FORMAT} version {FORMAT_VERSION}")
    try:
        return _run_from(folder, facts)
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path} is damaged ({type(error).__name__}: {error}): train again") from error


def _raise_to_version_2(facts: dict[str, Any]) -> int:
    """Bring facts of version 1 up to 2, where the weight of Dice moved from method to loss."""
    facts["recipe"]["loss"] = {"dice": facts["recipe"]["method"].pop("dice_weight")}
    return 2


def _run_from(folder: Path, facts: dict[str, Any]) -> Run:
    recipe = parse_recipe(facts["recipe"], str(folder / RUN_JSON))
    z_nm, y_nm, x_nm = (float(edge) for edge in facts["voxel_nm"])
    domain = facts["domain"]
    return Run(
        folder=folder,
        name=recipe.name,
        description=recipe.description,
        class_name=recipe.class_name,
        method=facts["method"],
        spec=NetworkSpec(**facts["network"]),
        voxel_nm=(z_nm, y_nm, x_nm),
        working_voxel_nm=facts["working_voxel_nm"],
        normalisation=Normalisation(**facts["normalisation"]),
        threshold=float(facts["threshold"]),
        domain=Domain(tuple(domain["quantiles"]), float(domain["foreground_share"])),
        placed=PlacedRecipe(recipe, Path(facts["recipe_folder"])),
        facts=facts,
    )
