"""What a validation measures: IoU on held-out source data, and of the target what needs no labels."""

from dataclasses import asdict

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray

from dmn_runtime.normalise import spread
from dmn_train.domains import DomainNetwork
from dmn_train.label_free import LEAST_OBJECT_PX, mean_entropy, mean_solidity, solidity_of_labels
from dmn_train.mask import FOREGROUND
from dmn_train.material import Material
from dmn_train.recipe import Recipe
from dmn_train.select import Measured
from dmn_train.validate import THRESHOLD, predict_slice, validation_iou

CURVE_OF = {
    "held_out_iou": "held_out_iou",
    "solidity": "target_solidity",
    "source_solidity": "source_solidity",
    "entropy": "target_entropy",
}
"""Names of the curves of what `Measured` holds; studies read the curves back by them."""


def source_solidity(material: Material, recipe: Recipe) -> float | None:
    """Return the mean solidity of the source's labels; None where there is no target to compare it with.

    Raises:
        RecipeError: `select.rule` is "solidity" and the labels hold no object that is large enough.
    """
    if not material.target:
        return None
    labelled = [mask == FOREGROUND for stack in material.train for mask in stack.mask[stack.slices]]
    if recipe.select.rule == "solidity":
        return solidity_of_labels(labelled, LEAST_OBJECT_PX, material.train[0].name)
    return mean_solidity(labelled, LEAST_OBJECT_PX)


@torch.no_grad()
def measure(
    fabric: Fabric, network: DomainNetwork, material: Material, recipe: Recipe, of_labels: float | None
) -> Measured:
    """Measure everything that the data at hand allow; `of_labels` is `source_solidity`.

    The network is left in eval mode.
    """
    iou = solidity = entropy = None
    network.eval()
    with fabric.autocast():
        if material.held_out:
            with network.as_source() as as_source:
                iou = validation_iou(as_source, recipe.network.spec, material.held_out, THRESHOLD)
        if material.target:
            probabilities = on_target(network, material, recipe)
            solidity = mean_solidity([one >= THRESHOLD for one in probabilities], LEAST_OBJECT_PX)
            entropy = mean_entropy(probabilities)
    return Measured(iou, solidity, of_labels, entropy)


def on_target(network: DomainNetwork, material: Material, recipe: Recipe) -> list[NDArray[np.float32]]:
    """Return the probabilities of slices spread over all target volumes, yx each; wants eval mode."""
    every = [(stack, z) for stack in material.target for z in range(len(stack.grey))]
    chosen = spread(len(every), 1, min(recipe.select.target_slices, len(every)))
    return [predict_slice(network.network, recipe.network.spec, *every[index]) for index in chosen]


def as_curves(measured: Measured) -> dict[str, float]:
    """Return what was measured, by the names of its curves."""
    return {CURVE_OF[name]: value for name, value in asdict(measured).items() if value is not None}
