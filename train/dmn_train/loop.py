"""The training loop: from a recipe to a run folder."""

import copy
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from safetensors.torch import save_file
from torch import nn

from dmn_train.average import update_average
from dmn_train.checkpoint import Learner, State, load_checkpoint, plain_weights, save_checkpoint
from dmn_train.curves import CsvCurves, Curves, ManyCurves, NoCurves, TensorBoardCurves
from dmn_train.data import Batch, draw_batch
from dmn_train.domains import DomainNetwork
from dmn_train.files import file_sha256, write_whole
from dmn_train.folder import check_folder, close_folder, library_versions, open_folder
from dmn_train.hardware import device_name, make_fabric
from dmn_train.interrupt import deferred_interrupts
from dmn_train.measure import as_curves, measure, source_solidity
from dmn_train.methods.base import Objective
from dmn_train.methods.table import make_method
from dmn_train.networks.unet import UNet
from dmn_train.recipe import PlacedRecipe, Recipe
from dmn_train.run import CHECKPOINT, CURVES, FORMAT, FORMAT_VERSION, OVERLAYS, WEIGHTS
from dmn_train.schedule import learning_rate
from dmn_train.sections import OptimiserSection
from dmn_train.select import Decision, Measured, Selector, score
from dmn_train.snapshots import prune, read_snapshot, write_snapshot
from dmn_train.stacks import Material, load_material
from dmn_train.start import Start, find_start
from dmn_train.validate import THRESHOLD, draw_overlays, write_overlays


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


@dataclass(frozen=True)
class Outcome:
    """What a finished run tells.

    Attributes:
        steps: done; fewer than the recipe's where patience ended the run.
        loss: of the last step.
        iou: foreground IoU of the kept weights on held-out source data; None without such data.
        selected: step whose weights were kept.
        wall_s: seconds of work.
        leads: whether this process has the first of the devices, and thus wrote the folder.
    """

    steps: int
    loss: float
    iou: float | None
    selected: int
    wall_s: float
    leads: bool


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
        KeyboardInterrupt: stopped by a signal; the folder can be resumed.
    """
    recipe, loop = placed.recipe, placed.recipe.loop
    fabric = make_fabric(loop.device, loop.precision, loop.devices)
    if fabric.is_global_zero:
        check_folder(folder, placed, resume=resume, overwrite=overwrite)
    fabric.launch()
    start = find_start(placed)
    material = load_material(placed)
    of_labels = source_solidity(material, recipe)
    if fabric.is_global_zero:
        fingerprints = [*(origin.fingerprint for origin in material.origins), *start.fingerprints]
        open_folder(folder, placed, fingerprints, resume=resume)
    fabric.barrier()
    torch.manual_seed(loop.seed)
    learner, wrapped, optimiser = _make_learner(fabric, recipe, start)
    state = State(0, [], {})
    if resume and (folder / CHECKPOINT).is_file():
        state = load_checkpoint(folder / CHECKPOINT, learner)
    fabric.strategy.precision.load_state_dict(state.scaler)
    selector = Selector(recipe.select.rule, recipe.select.keep, recipe.select.patience)
    curves = _open_curves(fabric, folder, recipe, state.step)
    first, validations = state.step, list(state.validations)
    decision = selector.decide(validations)
    if fabric.is_global_zero:
        prune(folder, decision.kept)
    started = time.monotonic()
    done, loss, measured = first, float("nan"), Measured()
    try:
        with deferred_interrupts() as interrupt:
            while done < loop.steps and not decision.ends:
                rate = _set_rate(optimiser, recipe.optimiser, done, loop.steps)
                batch = _to_device(draw_batch(material, recipe, done, fabric.global_rank), fabric.device)
                learner.objective.train()
                losses = wrapped(batch, done / loop.steps)
                fabric.backward(losses["loss"])
                fabric.clip_gradients(wrapped, optimiser, max_norm=recipe.optimiser.clip_norm)
                optimiser.step()
                optimiser.zero_grad()
                network, decay = learner.objective.network, recipe.optimiser.ema_decay
                update_average(learner.average, network, decay=decay, step=done)

                done += 1
                loss = float(losses["loss"].detach())
                if done % recipe.log.every == 0 or done == loop.steps:
                    values = {name: float(value.detach()) for name, value in losses.items()}
                    curves.add(done, {**values, "lr": rate})
                validates = done % loop.validate_every == 0 or done == loop.steps
                if validates:
                    kept = _kept(learner, recipe)
                    # The devices' BatchNorm statistics differ; they must decide alike, or one waits for ever.
                    measured = fabric.broadcast(measure(fabric, kept, material, recipe, of_labels))
                    curves.add(done, as_curves(measured))
                    _show(fabric, curves, done, kept, recipe, material)
                    validations.append(score(recipe.select.rule, done, measured))
                    decision = selector.decide(validations)
                    if fabric.is_global_zero and done in decision.kept:
                        write_snapshot(folder, done, plain_weights(kept))
                if fabric.is_global_zero:
                    tell(Progress(done, loop.steps, loss, measured.held_out_iou if validates else None))
                stops = _anybody(fabric, interrupt.wanted)
                over = done == loop.steps or decision.ends
                due = stops or validates or done % loop.checkpoint_every == 0
                if due and not over and fabric.is_global_zero:
                    scaler = fabric.strategy.precision.state_dict()
                    save_checkpoint(folder / CHECKPOINT, learner, State(done, validations, scaler))
                    # Not before: a run killed in between goes back to the checkpoint and its snapshots.
                    prune(folder, decision.kept)
                if stops and not over:
                    raise KeyboardInterrupt
    finally:
        curves.close()
    selected, wall_s = decision.best or done, time.monotonic() - started
    outcome = Outcome(done, loss, measured.held_out_iou, selected, wall_s, leads=fabric.is_global_zero)
    if fabric.is_global_zero:
        outcome = _take_best(fabric, folder, learner, material, recipe, of_labels, outcome)
        _finish(placed, folder, fabric, learner, material, outcome, start, first, decision)
    fabric.barrier()
    return outcome


def _make_learner(
    fabric: Fabric, recipe: Recipe, start: Start
) -> tuple[Learner, nn.Module, torch.optim.Optimizer]:
    plain = UNet(recipe.network.spec).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network = DomainNetwork(plain, two_domains=recipe.method.name != "source_only")
    start.load_into(network)
    average = copy.deepcopy(network).requires_grad_(False).to(fabric.device)
    objective = Objective(network, make_method(recipe))
    section = recipe.optimiser
    adam = torch.optim.AdamW(objective.parameters(), lr=section.lr, weight_decay=section.weight_decay)
    wrapped, optimiser = fabric.setup(objective, adam)
    return Learner(objective, average, adam), wrapped, optimiser


def _open_curves(fabric: Fabric, folder: Path, recipe: Recipe, done: int) -> Curves:
    if not fabric.is_global_zero:
        return NoCurves()
    csv = CsvCurves(folder / CURVES, done=done)
    if not recipe.log.tensorboard:
        return csv
    return ManyCurves((csv, TensorBoardCurves(folder / "tensorboard", done=done)))


def _set_rate(optimiser: Any, section: OptimiserSection, step: int, steps: int) -> float:
    rate = learning_rate(
        step,
        peak=section.lr,
        steps=steps,
        warmup_steps=section.warmup_steps,
        schedule=section.schedule,
        drop=section.drop,
        drop_every_steps=section.drop_every_steps,
    )
    for group in optimiser.param_groups:
        group["lr"] = rate
    return rate


def _to_device(batch: Batch, device: torch.device) -> Batch:
    image = batch.image.to(device, memory_format=torch.channels_last)
    target = batch.target
    if target is not None:
        target = target.to(device, memory_format=torch.channels_last)
    return Batch(image, batch.truth.to(device), batch.valid.to(device), target)


def _anybody(fabric: Fabric, wanted: bool) -> bool:
    """Tell whether any of the devices is asked to stop, so that all stop after the same step."""
    if fabric.world_size == 1:
        return wanted
    asked = fabric.all_reduce(torch.tensor(float(wanted), device=fabric.device), reduce_op="sum")
    assert isinstance(asked, torch.Tensor)
    return bool(asked.item() > 0)


def _kept(learner: Learner, recipe: Recipe) -> DomainNetwork:
    """Return the network whose weights are measured and kept."""
    return learner.average if recipe.optimiser.ema_decay > 0 else learner.objective.network


def _show(
    fabric: Fabric, curves: Curves, step: int, network: DomainNetwork, recipe: Recipe, material: Material
) -> None:
    """Put overlays of held-out or training slices beside the curves, where pictures are kept."""
    if recipe.log.tensorboard:
        shown = material.held_out or material.train
        with fabric.autocast(), network.as_source() as as_source:
            pictures = draw_overlays(as_source, recipe.network.spec, shown, THRESHOLD, recipe.log.overlays)
        for name, rgb in pictures:
            curves.picture(step, name, rgb)


def _take_best(
    fabric: Fabric,
    folder: Path,
    learner: Learner,
    material: Material,
    recipe: Recipe,
    of_labels: float | None,
    outcome: Outcome,
) -> Outcome:
    """Go back to the weights of the selected step, where the last ones are not the best."""
    if outcome.selected == outcome.steps:
        return outcome
    network = _kept(learner, recipe)
    network.load_state_dict(read_snapshot(folder, outcome.selected))
    iou = measure(fabric, network, material, recipe, of_labels).held_out_iou
    return replace(outcome, iou=iou)


def _finish(
    placed: PlacedRecipe,
    folder: Path,
    fabric: Fabric,
    learner: Learner,
    material: Material,
    outcome: Outcome,
    start: Start,
    resumed_at: int,
    decision: Decision,
) -> None:
    recipe = placed.recipe
    spec = recipe.network.spec
    kept = _kept(learner, recipe)
    final = kept.network
    write_whole(folder / WEIGHTS, lambda partial: save_file(plain_weights(final), partial))
    prune(folder, decision.remaining)
    shown = material.held_out or material.train
    with fabric.autocast(), kept.as_source() as network:
        write_overlays(folder / OVERLAYS, network, spec, shown, THRESHOLD, recipe.log.overlays)
    facts = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "name": recipe.name,
        "method": recipe.method.name,
        "seed": recipe.loop.seed,
        "steps": outcome.steps,
        "selected_step": outcome.selected,
        "wall_s": round(outcome.wall_s, 1),
        "resumed_at": resumed_at,
        "held_out_iou": outcome.iou,
        "network": asdict(spec),
        "parameters": sum(p.numel() for p in final.parameters()),
        "weights_sha256": file_sha256(folder / WEIGHTS),
        "voxel_nm": list(material.voxel_nm),
        "working_voxel_nm": recipe.working_voxel_nm,
        "normalisation": asdict(recipe.normalisation.rule),
        "threshold": THRESHOLD,
        "domain": asdict(material.domain),
        "init": start.facts,
        "data": [asdict(origin) for origin in material.origins],
        "device": str(fabric.device),
        "device_name": device_name(fabric.device),
        "devices": fabric.world_size,
        "precision": fabric.strategy.precision.precision,
        "versions": library_versions(),
        "recipe": recipe.as_json(),
        "recipe_folder": str(placed.folder),
    }
    close_folder(folder, facts)
