"""What a validation measures, and that each domain is seen with its own statistics."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from torch import nn

from dmn_runtime.errors import RecipeError
from dmn_train import measure as module
from dmn_train.domains import DomainNetwork
from dmn_train.hardware import make_fabric
from dmn_train.label_free import LEAST_OBJECT_PX, mean_entropy, mean_solidity
from dmn_train.material import Material, load_material
from dmn_train.measure import as_curves, measure, source_solidity
from dmn_train.networks.unet import UNet
from dmn_train.recipe import PlacedRecipe
from dmn_train.select import Measured
from dmn_train.stacks import TargetStack
from dmn_train.validate import THRESHOLD, predict_slice, validation_iou

Placed = Callable[..., PlacedRecipe]
TARGET = ("data.target.image=target.tif", "data.target.voxel_nm=[5,5,5]", "method.name=adabn")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def adapting(placed: Placed, folder: Path) -> PlacedRecipe:
    tifffile.imwrite(folder / "target.tif", 255 - tifffile.imread(folder / "image.tif") // 2)
    return placed(*TARGET)


def make_network(recipe: PlacedRecipe, *, two_domains: bool) -> DomainNetwork:
    torch.manual_seed(4)
    network = DomainNetwork(UNet(recipe.recipe.network.spec), two_domains=two_domains).train()
    generator = torch.Generator().manual_seed(5)
    for _ in range(10):
        network.source_features(torch.randn(2, 1, 32, 32, generator=generator))
        if two_domains:
            network.target_features(3.0 * torch.randn(2, 1, 32, 32, generator=generator) - 1.0)
    # Untrained logits have one sign; in their middle, some pixels are foreground and some are not.
    network.eval()
    with torch.no_grad(), network.as_source() as as_source:
        network.network.head.bias -= as_source(torch.randn(1, 1, 32, 32, generator=generator)).median()
    return network.train()


def measured_on(recipe: PlacedRecipe, material: Material, network: DomainNetwork) -> Measured:
    fabric = make_fabric("cpu", "32-true", 1)
    return measure(fabric, network, material, recipe.recipe, source_solidity(material, recipe.recipe))


def test_without_held_out_data_and_target_nothing_is_measured(placed: Placed, folder: Path) -> None:
    text = (folder / "recipe.toml").read_text().replace("[validate]\nslices = [5, 6]\n", "")
    (folder / "recipe.toml").write_text(text)
    recipe = placed()
    measured = measured_on(recipe, load_material(recipe), make_network(recipe, two_domains=False))
    assert measured == Measured(None, None, None, None)
    assert as_curves(measured) == {}


def test_each_domain_is_measured_with_its_own_statistics(adapting: PlacedRecipe) -> None:
    material, spec = load_material(adapting), adapting.recipe.network.spec
    network = make_network(adapting, two_domains=True)
    measured = measured_on(adapting, material, network)
    assert not network.training
    with network.as_source() as as_source:
        assert measured.held_out_iou == validation_iou(as_source, spec, material.held_out, THRESHOLD)
    assert measured.held_out_iou != validation_iou(network.network, spec, material.held_out, THRESHOLD)
    (target,) = material.target
    probabilities = [predict_slice(network.network, spec, target, z) for z in range(6)]
    assert measured.entropy == pytest.approx(mean_entropy(probabilities))
    found = [one >= THRESHOLD for one in probabilities]
    assert measured.solidity == mean_solidity(found, LEAST_OBJECT_PX)
    assert measured.source_solidity == pytest.approx(
        mean_solidity(list(material.train[0].mask == 1), LEAST_OBJECT_PX)
    )


def test_target_slices_are_spread_over_all_target_volumes(
    adapting: PlacedRecipe, placed: Placed, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = placed(
        "method.name=adabn",
        "select.target_slices=4",
        'data.target=[{image="target.tif",voxel_nm=[5,5,5]},{image="image.tif",voxel_nm=[5,5,5],slices=[0,2]}]',
    )
    looked: list[tuple[str, int]] = []

    def spy(network: nn.Module, spec: object, stack: TargetStack, z: int) -> np.ndarray:
        looked.append((stack.name, z))
        return np.full((4, 4), 0.5, np.float32)

    monkeypatch.setattr(module, "predict_slice", spy)
    measured_on(recipe, load_material(recipe), make_network(recipe, two_domains=True))
    assert len(looked) == len(set(looked)) == 4
    assert {name for name, _ in looked} == {"target.tif", "image.tif"}


def test_solidity_is_compared_only_where_there_is_a_target(placed: Placed, adapting: PlacedRecipe) -> None:
    alone = placed()
    assert source_solidity(load_material(alone), alone.recipe) is None
    solidity = source_solidity(load_material(adapting), adapting.recipe)
    assert solidity is not None
    assert 0.8 < solidity <= 1.0


def test_labels_without_an_object_are_refused_only_by_the_rule_that_wants_one(
    placed: Placed, folder: Path, adapting: PlacedRecipe
) -> None:
    mask = np.zeros_like(tifffile.imread(folder / "mask.tif"))
    mask[:, 10:14, 10:14] = 1
    tifffile.imwrite(folder / "mask.tif", mask)
    assert source_solidity(load_material(adapting), adapting.recipe) is None
    recipe = placed(*TARGET, "select.rule=solidity")
    with pytest.raises(RecipeError, match=r"the labels of image\.tif hold no object of 50 px or more"):
        source_solidity(load_material(recipe), recipe.recipe)


def test_curves_have_names_of_their_own_and_no_gaps() -> None:
    assert as_curves(Measured(0.5, 0.9, 0.95, 0.2)) == {
        "target_solidity": 0.9,
        "source_solidity": 0.95,
        "target_entropy": 0.2,
        "held_out_iou": 0.5,
    }
    assert as_curves(Measured(solidity=0.0)) == {"target_solidity": 0.0}
