"""BatchNorm's statistics at the end: the mean over plain crops of the target, the same on every call."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dmn_train.domains import DomainNetwork
from dmn_train.given import Given
from dmn_train.hardware import make_fabric
from dmn_train.loop import train
from dmn_train.material import load_material
from dmn_train.networks.sizes import NetworkSpec
from dmn_train.networks.unet import UNet
from dmn_train.recipe import PlacedRecipe
from dmn_train.run import load_run
from dmn_train.start import Start
from dmn_train.student.recalibrate import recalibrate

Placed = Callable[..., PlacedRecipe]
TAUGHT = (
    "data.target.image=target.tif",
    "data.target.voxel_nm=[5,5,5]",
    "method.name=distil",
    "method.distil.teacher=teacher",
    "loop.crop_px=16",
)
MEAN, VARIANCE = "network.down.0.1.running_mean", "network.down.0.1.running_var"


def given_by(recipe: PlacedRecipe) -> Given:
    fabric = make_fabric("cpu", "32-true", 1)
    return Given(recipe, recipe.folder, fabric, load_material(recipe), Start(None, None), None)


@pytest.fixture
def network() -> DomainNetwork:
    torch.manual_seed(4)
    made = DomainNetwork(UNet(NetworkSpec(2, 2, 0)), two_domains=True).requires_grad_(False)
    for norm in made.network.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            assert norm.running_mean is not None
            norm.running_mean.fill_(7.0)
    return made


@pytest.mark.usefixtures("teacher")
def test_the_statistics_are_those_of_many_plain_crops(placed: Placed, network: DomainNetwork) -> None:
    given = given_by(placed(*TAUGHT, "method.distil.recalibrate_crops=400"))
    source_before = copy.deepcopy(network.source_statistics.state_dict())
    assert recalibrate(given, network)
    # The first convolution of the whole target, by hand.
    stack = given.material.target[0]
    image = torch.from_numpy(stack.table[stack.grey])[:, None]
    inside = network.network.down[0][0](image)[..., 1:-1, 1:-1]
    state = network.state_dict()
    torch.testing.assert_close(state[MEAN], inside.mean((0, 2, 3)), atol=0.05, rtol=0.1)
    torch.testing.assert_close(state[VARIANCE], inside.var((0, 2, 3)), atol=0.05, rtol=0.2)
    assert all(
        torch.equal(t, source_before[name]) for name, t in network.source_statistics.state_dict().items()
    )
    assert all(norm.momentum == 0.1 for norm in network.modules() if isinstance(norm, torch.nn.BatchNorm2d))
    assert not network.network.training


@pytest.mark.usefixtures("teacher")
def test_the_same_seed_gives_the_same_statistics(placed: Placed, network: DomainNetwork) -> None:
    twin, other = copy.deepcopy(network), copy.deepcopy(network)
    recalibrate(given_by(placed(*TAUGHT)), network)
    recalibrate(given_by(placed(*TAUGHT)), twin)
    recalibrate(given_by(placed(*TAUGHT, "loop.seed=5")), other)
    assert torch.equal(network.state_dict()[MEAN], twin.state_dict()[MEAN])
    assert not torch.equal(network.state_dict()[MEAN], other.state_dict()[MEAN])


@pytest.mark.usefixtures("teacher")
def test_it_is_off_at_0_and_for_all_other_methods(placed: Placed, network: DomainNetwork) -> None:
    for keys in ((*TAUGHT, "method.distil.recalibrate_crops=0"), ()):
        assert not recalibrate(given_by(placed(*keys)), network)
        assert set(network.state_dict()[MEAN].tolist()) == {7.0}


@pytest.mark.usefixtures("teacher")
def test_a_run_ends_with_it(placed: Placed, folder: Path) -> None:
    for name, crops in (("plain", 0), ("recalibrated", 64)):
        train(placed(*TAUGHT, f"method.distil.recalibrate_crops={crops}"), folder / name)
    plain, new = (load_run(folder / name).network().state_dict() for name in ("plain", "recalibrated"))
    assert not torch.equal(plain["down.0.1.running_mean"], new["down.0.1.running_mean"])
    assert torch.equal(plain["head.weight"], new["head.weight"])
    assert int(new["down.0.1.num_batches_tracked"]) == 16
