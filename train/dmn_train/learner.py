"""What a training run learns, and one step of learning."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.wrappers import _FabricModule, _FabricOptimizer
from torch import Tensor, nn

from dmn_runtime.errors import RunError
from dmn_train.average import update_average
from dmn_train.data import Batch
from dmn_train.domains import DomainNetwork
from dmn_train.given import Given
from dmn_train.methods.base import Objective
from dmn_train.methods.table import make_method
from dmn_train.networks.unet import UNet
from dmn_train.pairs import OtherSections
from dmn_train.schedule import learning_rate
from dmn_train.sections import OptimiserSection
from dmn_train.views import TargetViews


@dataclass(frozen=True)
class Learner:
    """What training changes.

    Attributes:
        objective: the network, and what the method learns beside it.
        average: the running average of the network.
        optimiser: of all weights of the objective.
        module: the objective as Fabric runs it.
        stepper: the optimiser as Fabric steps it.
    """

    objective: Objective
    average: DomainNetwork
    optimiser: torch.optim.Optimizer
    module: _FabricModule
    stepper: _FabricOptimizer


def make_learner(given: Given) -> Learner:
    """Build network, method and optimiser on the run's device, with the first weights."""
    recipe = given.recipe
    torch.manual_seed(recipe.loop.seed)
    plain = UNet(recipe.network.spec).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    adapts = recipe.method.name != "source_only"
    network = DomainNetwork(plain, two_domains=adapts and recipe.method.statistics == "own")
    given.start.load_into(network)
    average = copy.deepcopy(network).requires_grad_(False).to(given.fabric.device)
    method = make_method(recipe, given.material.domain.foreground_share, given.start.teacher)
    method.begin(network)
    objective = Objective(network, method)
    section = recipe.optimiser
    groups = _groups(objective, section)
    adam = torch.optim.AdamW(groups, lr=section.lr, weight_decay=section.weight_decay)
    module, stepper = given.fabric.setup(objective, adam)
    return Learner(objective, average, adam, module, stepper)


def take_step(given: Given, learner: Learner, batch: Batch, done: int) -> dict[str, Tensor]:
    """Learn from a batch after `done` steps; return the method's losses and the learning rate, lr.

    Raises:
        RunError: the gradient is not finite, and not because 16 bits look for their scale.
    """
    recipe, fabric = given.recipe, given.fabric
    rate = _set_rate(learner, given, done)
    learner.objective.train()
    losses: dict[str, Tensor] = learner.module(_on_device(batch, fabric.device), done / recipe.loop.steps)
    fabric.backward(losses["loss"])
    finite = _clip(learner, fabric, recipe.optimiser.clip_norm)
    if not finite and not (_skips(fabric) and bool(losses["loss"].isfinite())):
        raise RunError(
            f"the gradient of step {done + 1} is not finite, so the loss has diverged: "
            f"lower optimiser.lr, which is {recipe.optimiser.lr:g}, and begin anew"
        )
    learner.stepper.step()
    learner.stepper.zero_grad()
    network, decay = learner.objective.network, recipe.optimiser.ema_decay
    update_average(learner.average, network, decay=decay, step=done)
    learner.objective.method.after_step(network, done)
    return {**losses, "lr": torch.tensor(rate)}


def _groups(objective: Objective, section: OptimiserSection) -> list[dict[str, Any]]:
    """Return AdamW's groups: network and what learns as it does, then the parts with a rate of their own.

    What `peak` holds is scaled by the schedule.
    """
    rates = objective.method.rates()
    groups: list[dict[str, Any]] = [
        {
            "params": _learned(rate.part),
            "peak": rate.lr,
            "betas": rate.betas,
            "weight_decay": rate.weight_decay,
        }
        for rate in rates
    ]
    apart = {parameter for group in groups for parameter in group["params"]}
    common = [parameter for parameter in _learned(objective) if parameter not in apart]
    return [{"params": common, "peak": section.lr}, *groups]


def _learned(module: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def _clip(learner: Learner, fabric: Fabric, max_norm: float) -> bool:
    """Bound the gradient's norm of each group by itself: a generator's is not to shrink the network's.

    Returns:
        whether all norms are finite; if not, the gradients are no use.
    """
    fabric.strategy.precision.unscale_gradients(learner.optimiser)
    groups = learner.optimiser.param_groups
    norms = [nn.utils.clip_grad_norm_(group["params"], max_norm) for group in groups]
    return all(bool(norm.isfinite()) for norm in norms)


def _skips(fabric: Fabric) -> bool:
    """Tell whether a gradient that is not finite only skips a step: that is how 16 bits find their scale."""
    return getattr(fabric.strategy.precision, "scaler", None) is not None


def _set_rate(learner: Learner, given: Given, done: int) -> float:
    """Give every group its rate after `done` steps; return that of the network."""
    section = given.recipe.optimiser
    for group in learner.optimiser.param_groups:
        group["lr"] = learning_rate(
            done,
            peak=group["peak"],
            steps=given.recipe.loop.steps,
            warmup_steps=section.warmup_steps,
            schedule=section.schedule,
            drop=section.drop,
            drop_every_steps=section.drop_every_steps,
        )
    return float(learner.optimiser.param_groups[0]["lr"])


def _on_device(batch: Batch, device: torch.device) -> Batch:
    image = batch.image.to(device, memory_format=torch.channels_last)
    target = batch.target
    if target is not None:
        target = target.to(device, memory_format=torch.channels_last)
    views = batch.views
    if views is not None:
        of_target = views.plain.to(device, memory_format=torch.channels_last)
        views = TargetViews(of_target, views.shown.to(device), views.pasted.to(device))
    plain = batch.plain
    if plain is not None:
        plain = plain.to(device, memory_format=torch.channels_last)
    others = batch.others
    if others is not None:
        moved = (others.image, others.target)
        other_image, other_target = (of.to(device, memory_format=torch.channels_last) for of in moved)
        others = OtherSections(other_image, others.truth.to(device), others.valid.to(device), other_target)
    return Batch(image, batch.truth.to(device), batch.valid.to(device), target, views, plain, others)


def kept_network(given: Given, learner: Learner) -> DomainNetwork:
    """Return the network whose weights are measured and kept: the average, unless there is none."""
    return learner.average if given.recipe.optimiser.ema_decay > 0 else learner.objective.network
