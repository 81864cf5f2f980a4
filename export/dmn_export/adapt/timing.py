"""How long a step of each stage takes on this machine, by taking a few."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import torch

from dmn_export.adapt.plan import Stage
from dmn_train.data import draw_batch
from dmn_train.given import Given
from dmn_train.hardware import make_fabric
from dmn_train.learner import kept_network, make_learner, take_step
from dmn_train.material import Material
from dmn_train.measure import measure
from dmn_train.networks.sizes import NetworkSpec
from dmn_train.networks.unet import UNet
from dmn_train.start import Start
from dmn_train.student.teacher_run import TeacherRun

WARM_STEPS, TIMED_STEPS = 1, 3
TILE_PX = 384
Seconds = Callable[[], float]


@dataclass(frozen=True)
class StagePace:
    """Seconds of one step, and of one look at held-out and target slices."""

    step_s: float
    look_s: float


def stage_pace(
    stage: Stage, material: Material, adapted: NetworkSpec, seconds: Seconds = perf_counter
) -> StagePace:
    """Take a few steps of a stage from random weights, which cost what any others cost; write nothing.

    Args:
        stage: any.
        material: what its recipe names, or more.
        adapted: the network that teaches, where the stage has a teacher.
        seconds: the clock.
    """
    recipe = stage.placed.recipe
    fabric = make_fabric(recipe.loop.device, recipe.loop.precision, 1)
    teacher = TeacherRun(UNet(adapted), {}) if recipe.method.distil is not None else None
    given = Given(stage.placed, stage.folder, fabric, material, Start(None, None, teacher), None)
    learner = make_learner(given)
    taken = []
    for step in range(WARM_STEPS + TIMED_STEPS):
        begin = seconds()
        losses = take_step(given, learner, draw_batch(material, recipe, step), step)
        float(losses["loss"].detach())  # waits for a GPU
        taken.append(seconds() - begin)
    begin = seconds()
    measure(fabric, kept_network(given, learner), material, recipe, None)
    return StagePace(median(taken[WARM_STEPS:]), seconds() - begin)


@torch.no_grad()
def forward_s(spec: NetworkSpec, seconds: Seconds = perf_counter) -> float:
    """Return the seconds of a tile of 384 px through a network on the CPU, in torch."""
    network, tile = UNet(spec).eval(), torch.zeros(1, spec.in_channels, TILE_PX, TILE_PX)
    network(tile)
    begin = seconds()
    network(tile)
    return seconds() - begin
