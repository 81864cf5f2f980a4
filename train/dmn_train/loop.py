"""The training loop: from a recipe to a run folder."""

import copy
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from safetensors.torch import save_file
from torch import nn

from dmn_train.average import update_average
from dmn_train.checkpoint import Learner, load_checkpoint, plain_weights, save_checkpoint
from dmn_train.curves import CsvCurves, Curves, ManyCurves, TensorBoardCurves
from dmn_train.data import Batch, draw_batch
from dmn_train.domains import DomainNetwork
from dmn_train.files import file_sha256, write_whole
from dmn_train.folder import check_folder, close_folder, library_versions, open_folder
from dmn_train.hardware import device_name, make_fabric
from dmn_train.interrupt import deferred_interrupts
from dmn_train.methods.base import Objective
from dmn_train.methods.table import make_method
from dmn_train.networks.unet import UNet
from dmn_train.recipe import PlacedRecipe, Recipe
from dmn_train.run import CHECKPOINT, CURVES, FORMAT, FORMAT_VERSION, OVERLAYS, WEIGHTS
from dmn_train.schedule import learning_rate
from dmn_train.sections import OptimiserSection
from dmn_train.stacks import Material, load_material
from dmn_train.start import Start, find_start
from dmn_train.validate import validation_iou, write_overlays

THRESHOLD = 0.5


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
    """What a finished run tells: final loss, held-out IoU (None without held-out slices), seconds of work."""

    loss: float
    iou: float | None
    wall_s: float


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
        tell: called after every step.

    Raises:
        DmnError: the recipe, the data or the folder is not as it must be.
        KeyboardInterrupt: stopped by a signal; the folder can be resumed.
    """
    recipe, loop = placed.recipe, placed.recipe.loop
    check_folder(folder, placed, resume=resume, overwrite=overwrite)
    start = find_start(placed)
    material = load_material(placed)
    fingerprints = [*(origin.fingerprint for origin in material.origins), *start.fingerprints]
    goes_on = open_folder(folder, placed, fingerprints, resume=resume)
    fabric = make_fabric(loop.device, loop.precision, loop.devices)
    torch.manual_seed(loop.seed)
    learner, wrapped, optimiser = _make_learner(fabric, recipe, start)
    first, scaler = load_checkpoint(folder / CHECKPOINT, learner) if goes_on else (0, {})
    fabric.strategy.precision.load_state_dict(scaler)
    curves = _open_curves(folder, recipe, first)
    started = time.monotonic()
    loss, iou = float("nan"), None
    try:
        with deferred_interrupts() as interrupt:
            for step in range(first, loop.steps):
                rate = _set_rate(optimiser, recipe.optimiser, step, loop.steps)
                batch = _to_device(draw_batch(material, recipe, step), fabric.device)
                learner.objective.train()
                losses = wrapped(batch, step / loop.steps)
                fabric.backward(losses["loss"])
                fabric.clip_gradients(wrapped, optimiser, max_norm=recipe.optimiser.clip_norm)
                optimiser.step()
                optimiser.zero_grad()
                network, decay = learner.objective.network, recipe.optimiser.ema_decay
                update_average(learner.average, network, decay=decay, step=step)

                done = step + 1
                loss = float(losses["loss"].detach())
                if done % recipe.log.every == 0 or done == loop.steps:
                    values = {name: float(value.detach()) for name, value in losses.items()}
                    curves.add(done, {**values, "lr": rate})
                iou = None
                if material.held_out and (done % loop.validate_every == 0 or done == loop.steps):
                    iou = _validate(fabric, learner.average, recipe, material)
                    curves.add(done, {"held_out_iou": iou})
                tell(Progress(done, loop.steps, loss, iou))
                if done < loop.steps and (interrupt.wanted or done % loop.checkpoint_every == 0):
                    state = fabric.strategy.precision.state_dict()
                    save_checkpoint(folder / CHECKPOINT, learner, step=done, scaler=state)
                if interrupt.wanted and done < loop.steps:
                    raise KeyboardInterrupt
    finally:
        curves.close()
    wall_s = time.monotonic() - started
    outcome = Outcome(loss, iou, wall_s)
    _finish(placed, folder, fabric, learner, material, outcome, start, first)
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


def _open_curves(folder: Path, recipe: Recipe, done: int) -> Curves:
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
    image, target = (
        crops if crops is None else crops.to(device, memory_format=torch.channels_last)
        for crops in (batch.image, batch.target)
    )
    assert image is not None
    return Batch(image, batch.truth.to(device), batch.valid.to(device), target)


def _validate(fabric: Fabric, average: DomainNetwork, recipe: Recipe, material: Material) -> float:
    with fabric.autocast(), average.as_source() as network:
        return validation_iou(network, recipe.network.spec, material.held_out, THRESHOLD)


def _finish(
    placed: PlacedRecipe,
    folder: Path,
    fabric: Fabric,
    learner: Learner,
    material: Material,
    outcome: Outcome,
    start: Start,
    resumed_at: int,
) -> None:
    recipe = placed.recipe
    spec = recipe.network.spec
    kept = learner.average if recipe.optimiser.ema_decay > 0 else learner.objective.network
    final = kept.network
    write_whole(folder / WEIGHTS, lambda partial: save_file(plain_weights(final), partial))
    shown = material.held_out or material.train
    with fabric.autocast(), kept.as_source() as network:
        write_overlays(folder / OVERLAYS, network, spec, shown, THRESHOLD, recipe.log.overlays)
    facts = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "name": recipe.name,
        "method": recipe.method.name,
        "seed": recipe.loop.seed,
        "steps": recipe.loop.steps,
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
        "precision": fabric.strategy.precision.precision,
        "versions": library_versions(),
        "recipe": recipe.as_json(),
        "recipe_folder": str(placed.folder),
    }
    close_folder(folder, facts)
