"""Watching a run: what its weights are worth now, in numbers and pictures, and a snapshot if it is wanted."""

from dmn_train.checkpoint import plain_weights
from dmn_train.curves import Curves
from dmn_train.domains import DomainNetwork
from dmn_train.given import Given
from dmn_train.measure import as_curves, measure
from dmn_train.select import Decision, Measured
from dmn_train.snapshots import write_snapshot
from dmn_train.validate import THRESHOLD, draw_overlays


def watch(given: Given, network: DomainNetwork, curves: Curves, step: int) -> Measured:
    """Measure the weights after `step` steps and note what was found; all devices return the same."""
    measured = measure(given.fabric, network, given.material, given.recipe, given.label_solidity)
    # The devices' BatchNorm statistics differ; they must decide alike, or one waits for ever.
    measured = given.fabric.broadcast(measured)
    curves.add(step, as_curves(measured))
    if given.recipe.log.tensorboard:
        _show(given, network, curves, step)
    return measured


def _show(given: Given, network: DomainNetwork, curves: Curves, step: int) -> None:
    """Put overlays of held-out or training slices beside the curves."""
    recipe, material = given.recipe, given.material
    shown = material.held_out or material.train
    with given.fabric.autocast(), network.as_source() as as_source:
        pictures = draw_overlays(as_source, recipe.network.spec, shown, THRESHOLD, recipe.log.overlays)
        for name, rgb in pictures:
            curves.picture(step, name, rgb)


def keep_snapshot(given: Given, network: DomainNetwork, step: int, decision: Decision) -> None:
    """Write the weights of a validation down if `decision` wants them."""
    if given.leads and step in decision.kept:
        write_snapshot(given.folder, step, plain_weights(network))
