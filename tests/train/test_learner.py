"""Parts with a rate of their own have a group of their own, whose gradients are bounded apart."""

from collections.abc import Callable
from pathlib import Path

import pytest
import tifffile
import torch

from dmn_train.data import draw_batch
from dmn_train.given import Given
from dmn_train.hardware import make_fabric
from dmn_train.learner import Learner, make_learner, take_step
from dmn_train.material import load_material
from dmn_train.methods.dismemnet import Dismemnet
from dmn_train.recipe import PlacedRecipe
from dmn_train.start import Start

Placed = Callable[..., PlacedRecipe]
TARGET = ("data.target.image=target.tif", "data.target.voxel_nm=[5,5,5]", "loop.crop_px=16")
DISMEMNET = (*TARGET, "method.name=dismemnet", "method.dismemnet.translation.lr=0.5", "optimiser.lr=0.25")


@pytest.fixture(autouse=True)
def one_thread(folder: Path) -> None:
    torch.set_num_threads(1)
    tifffile.imwrite(folder / "target.tif", 255 - tifffile.imread(folder / "image.tif") // 2)


def learning(recipe: PlacedRecipe, folder: Path) -> tuple[Given, Learner]:
    fabric = make_fabric("cpu", "32-true", 1)
    given = Given(recipe, folder, fabric, load_material(recipe), Start(None, None), None)
    return given, make_learner(given)


def test_a_part_with_a_rate_of_its_own_has_a_group(placed: Placed, folder: Path) -> None:
    given, learner = learning(placed(*DISMEMNET), folder)
    common, own = learner.optimiser.param_groups
    method = learner.objective.method
    assert isinstance(method, Dismemnet)
    assert method.translation is not None
    assert set(own["params"]) == set(method.translation.translator.parameters())
    learned = {p for p in learner.objective.parameters() if p.requires_grad}
    assert set(common["params"]) == learned - set(own["params"])
    assert (common["betas"], own["betas"]) == ((0.9, 0.999), (0.5, 0.999))
    assert (common["weight_decay"], own["weight_decay"]) == (1e-2, 0.0)
    told = take_step(given, learner, draw_batch(given.material, given.recipe, 0), 0)
    assert (common["lr"], own["lr"]) == (0.125, 0.25)  # the first of two steps of warm-up
    assert float(told["lr"]) == 0.125


def test_other_methods_have_one_group(placed: Placed, folder: Path) -> None:
    _, learner = learning(placed(*TARGET, "method.name=dann"), folder)
    (group,) = learner.optimiser.param_groups
    assert group["params"] == [p for p in learner.objective.parameters() if p.requires_grad]


def test_each_group_has_its_own_bound(placed: Placed, folder: Path) -> None:
    given, learner = learning(placed(*DISMEMNET, "optimiser.clip_norm=0.001"), folder)
    norms = []

    def note(optimiser: torch.optim.Optimizer, *_: object) -> None:
        for group in optimiser.param_groups:
            found = [p.grad.norm() for p in group["params"] if p.grad is not None]
            norms.append(float(torch.stack(found).norm()))

    learner.optimiser.register_step_pre_hook(note)
    take_step(given, learner, draw_batch(given.material, given.recipe, 0), 0)
    assert norms == [pytest.approx(1e-3, rel=1e-2)] * 2


def test_a_bound_in_times_is_of_the_share_of_this_source(placed: Placed, folder: Path) -> None:
    given, learner = learning(placed(*DISMEMNET, "method.dismemnet.labels.most_foreground=1.5x"), folder)
    method = learner.objective.method
    assert isinstance(method, Dismemnet)
    assert method.ceiling is not None
    assert method.ceiling.most == 1.5 * given.material.domain.foreground_share
