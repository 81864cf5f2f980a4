"""Parts with a rate of their own have a group of their own, whose gradients are bounded apart."""

from collections.abc import Callable
from pathlib import Path

import pytest
import tifffile
import torch
from lightning_fabric.plugins.precision import MixedPrecision

from dmn_runtime.errors import RunError
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


def test_a_loss_that_diverges_ends_the_run_with_one_sentence(placed: Placed, folder: Path) -> None:
    given, learner = learning(placed("optimiser.lr=1e25"), folder)

    def step(done: int) -> None:
        take_step(given, learner, draw_batch(given.material, given.recipe, done), done)

    step(0)
    with pytest.raises(RunError) as caught:
        step(1)
    assert str(caught.value) == (
        "the gradient of step 2 is not finite, so the loss has diverged: "
        "lower optimiser.lr, which is 1e+25, and begin anew"
    )


def test_a_gradient_that_is_too_large_for_the_scale_of_16_bits_only_skips_a_step(
    placed: Placed, folder: Path
) -> None:
    recipe = placed()
    fabric = make_fabric("cpu", "32-true", 1)
    scaler = torch.amp.GradScaler("cpu", init_scale=1e38)  # the CPU has one too, though Fabric gives it none
    fabric.strategy.precision = MixedPrecision("16-mixed", "cpu", scaler)
    given = Given(recipe, folder, fabric, load_material(recipe), Start(None, None), None)
    learner = make_learner(given)

    def weights() -> list[torch.Tensor]:
        return [parameter.detach().clone() for parameter in learner.objective.network.parameters()]

    before = weights()
    take_step(given, learner, draw_batch(given.material, given.recipe, 0), 0)
    assert all(torch.equal(one, other) for one, other in zip(before, weights(), strict=True))
    assert scaler.get_scale() == pytest.approx(5e37)
    scaler.update(1.0)
    batch = draw_batch(given.material, given.recipe, 1)
    nothing = batch._replace(image=batch.image * torch.nan)
    with pytest.raises(RunError, match="the gradient of step 2 is not finite"):  # no scale helps
        take_step(given, learner, nothing, 1)
    learner.stepper.zero_grad()
    scaler.update(1.0)
    take_step(given, learner, draw_batch(given.material, given.recipe, 1), 1)
    assert any(not torch.equal(one, other) for one, other in zip(before, weights(), strict=True))
