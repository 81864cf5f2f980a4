"""The training loop: from a recipe to a run folder."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning_fabric import Fabric

from dmn_train.checkpoint import State, load_checkpoint, save_checkpoint
from dmn_train.curves import CsvCurves, Curves, ManyCurves, NoCurves, TensorBoardCurves
from dmn_train.data import draw_batch
from dmn_train.finish import Outcome, finish
from dmn_train.folder import check_folder, open_folder
from dmn_train.given import Given
from dmn_train.hardware import make_fabric
from dmn_train.interrupt import deferred_interrupts
from dmn_train.learner import Learner, kept_network, make_learner, take_step
from dmn_train.material import load_material
from dmn_train.measure import source_solidity
from dmn_train.recipe import PlacedRecipe
from dmn_train.run import CHECKPOINT, CURVES
from dmn_train.select import Measured, Selector, score
from dmn_train.snapshots import prune
from dmn_train.start import find_start
from dmn_train.watch import keep_snapshot, watch


@dataclass(frozen=True)
class Progress:
    """What is told after a step.

    Attributes:
        done: steps done.
        steps: steps in all.
        loss: of this step.
        iou: on the held-out slices, where this step measured it.
    """

    done: int
    steps: int
    loss: float
    iou: float | None


def train(
    placed: PlacedRecipe,
    folder: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    tell: Callable[[Progress], None] = lambda _: None,
) -> Outcome:
    """Train the network of a recipe and write the run folder.

    Args:
        placed: the recipe.
        folder: where the run is written.
        resume: go on from the folder's checkpoint; the result is the same, on a CPU to the bit.
        overwrite: drop what a former run left in the folder.
        tell: called after every step, on the first device alone.

    Raises:
        DmnError: the recipe, the data or the folder is not as it must be.
        KeyboardInterrupt: stopped by a signal; the folder can be resumed, or holds the finished run if the
            signal came in the last step.
    """
    given = _open(placed, folder, resume=resume, overwrite=overwrite)
    recipe, fabric = given.recipe, given.fabric
    learner = make_learner(given)
    state = _last_state(given, learner, resume=resume)
    selector = Selector(recipe.select.rule, recipe.select.keep, recipe.select.patience)
    decision = selector.decide(state.validations)
    if given.leads:
        prune(folder, decision.kept)
    curves = _open_curves(given, state.step)
    started, done, steps = time.monotonic(), state.step, recipe.loop.steps
    loss, measured, stops = float("nan"), Measured(), False
    try:
        with deferred_interrupts() as interrupt:
            while done < steps and not decision.ends:
                batch = draw_batch(given.material, recipe, done, fabric.global_rank)
                losses = take_step(given, learner, batch, done)
                done += 1
                loss = float(losses["loss"].detach())
                if done % recipe.log.every == 0 or done == steps:
                    curves.add(done, {name: float(value.detach()) for name, value in losses.items()})
                validates = done % recipe.loop.validate_every == 0 or done == steps
                if validates:
                    kept = kept_network(given, learner)
                    measured = watch(given, kept, curves, done)
                    state.validations.append(score(recipe.select.rule, done, measured))
                    decision = selector.decide(state.validations)
                    keep_snapshot(given, kept, done, decision)
                if given.leads:
                    tell(Progress(done, steps, loss, measured.held_out_iou if validates else None))
                stops = _anybody(fabric, interrupt.wanted)
                over = done == steps or decision.ends
                due = stops or validates or done % recipe.loop.checkpoint_every == 0
                if due and not over and given.leads:
                    scaler = fabric.strategy.precision.state_dict()
                    save_checkpoint(folder / CHECKPOINT, learner, State(done, state.validations, scaler))
                    # Not before: a run killed in between goes back to the checkpoint and its snapshots.
                    prune(folder, decision.kept)
                if stops and not over:
                    raise KeyboardInterrupt
    finally:
        curves.close()
    wall_s, selected = time.monotonic() - started, decision.best or done
    alarms = learner.objective.method.alarms(given.material.domain.foreground_share)
    outcome = Outcome(done, loss, measured.held_out_iou, selected, wall_s, given.leads, alarms)
    if given.leads:
        outcome = finish(given, kept_network(given, learner), outcome, decision, resumed_at=state.step)
    fabric.barrier()
    if stops or interrupt.wanted:  # in the last step, or just after it
        raise KeyboardInterrupt
    return outcome


def _open(placed: PlacedRecipe, folder: Path, *, resume: bool, overwrite: bool) -> Given:
    """Check everything that can be checked before the first step, read the data, make the folder ready."""
    loop = placed.recipe.loop
    fabric = make_fabric(loop.device, loop.precision, loop.devices)
    if fabric.is_global_zero:
        check_folder(folder, placed, resume=resume, overwrite=overwrite)
    fabric.launch()
    start, material = find_start(placed), load_material(placed)
    given = Given(placed, folder, fabric, material, start, source_solidity(material, placed.recipe))
    if given.leads:
        fingerprints = [*(origin.fingerprint for origin in material.origins), *start.fingerprints]
        open_folder(folder, placed, fingerprints, resume=resume)
    fabric.barrier()
    return given


def _last_state(given: Given, learner: Learner, *, resume: bool) -> State:
    """Return how far the run has come, with what it has learned put into `learner`."""
    checkpoint = given.folder / CHECKPOINT
    state = load_checkpoint(checkpoint, learner) if resume and checkpoint.is_file() else State(0, [], {})
    given.fabric.strategy.precision.load_state_dict(state.scaler)
    return state


def _open_curves(given: Given, done: int) -> Curves:
    if not given.leads:
        return NoCurves()
    csv = CsvCurves(given.folder / CURVES, done=done)
    if not given.recipe.log.tensorboard:
        return csv
    return ManyCurves((csv, TensorBoardCurves(given.folder / "tensorboard", done=done)))


def _anybody(fabric: Fabric, wanted: bool) -> bool:
    """Tell whether any of the devices is asked to stop, so that all stop after the same step."""
    if fabric.world_size == 1:
        return wanted
    asked = fabric.all_reduce(torch.tensor(float(wanted), device=fabric.device), reduce_op="sum")
    assert isinstance(asked, torch.Tensor)
    return bool(asked.item() > 0)
