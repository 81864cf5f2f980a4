"""Runs that start from runs: the weights arrive, and what does not fit is refused in one sentence."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from safetensors.torch import load_file

from dmn_runtime.errors import OutputError, RecipeError, RunError
from dmn_train.loop import Progress, train
from dmn_train.recipe import PlacedRecipe
from dmn_train.run import load_run
from dmn_train.start import find_start

Placed = Callable[..., PlacedRecipe]
TARGET = ("data.target.image=target.tif", "data.target.voxel_nm=[5,5,5]")
FROM_FIRST = "init.run=first"


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def first(placed: Placed, folder: Path) -> Path:
    """Return the folder of a finished, adapted run."""
    tifffile.imwrite(folder / "target.tif", 255 - tifffile.imread(folder / "image.tif") // 2)
    train(placed(*TARGET, "method.name=adabn", "loop.steps=3"), folder / "first")
    return folder / "first"


def test_without_init_weights_are_random_and_nothing_is_recorded(placed: Placed) -> None:
    start = find_start(placed())
    assert (start.weights, start.facts, start.fingerprints) == (None, None, [])


@pytest.mark.parametrize("method", ["source_only", "adabn"])
def test_the_first_step_starts_at_the_weights_of_the_run(
    placed: Placed, folder: Path, first: Path, method: str
) -> None:
    recipe = placed(
        *TARGET,
        FROM_FIRST,
        f"method.name={method}",
        "loop.steps=1",
        "loop.seed=7",
        "optimiser.lr=1e-12",
        "optimiser.warmup_steps=0",
    )
    train(recipe, folder / "tuned")
    before, after = (load_file(run / "weights.safetensors") for run in (first, folder / "tuned"))
    learned = [name for name in before if "running" not in name and "batches" not in name]
    assert learned
    for name in learned:
        torch.testing.assert_close(after[name], before[name], atol=1e-9, rtol=0)
    counted = [name for name in before if name.endswith("num_batches_tracked")]
    assert {after[name].item() for name in counted} == {4}
    facts = load_run(folder / "tuned").facts["init"]
    wanted = load_run(first).facts
    assert facts == {key: wanted[key] for key in ("name", "method", "seed", "steps", "weights_sha256")}
    assert facts["method"] == "adabn"


def test_both_domains_start_with_the_statistics_of_the_run(placed: Placed, first: Path) -> None:
    from dmn_train.domains import DomainNetwork
    from dmn_train.networks.unet import UNet

    recipe = placed(FROM_FIRST, *TARGET, "method.name=adabn")
    network = DomainNetwork(UNet(recipe.recipe.network.spec), two_domains=True)
    find_start(recipe).load_into(network)
    weights = load_file(first / "weights.safetensors")
    assert torch.equal(network.network.down[0][1].running_mean, weights["down.0.1.running_mean"])
    assert torch.equal(network.source_statistics[0].running_mean, weights["down.0.1.running_mean"])
    assert network.source_statistics[0].num_batches_tracked.item() == 3


def test_fine_tuning_leaves_the_run_that_it_starts_from_alone(placed: Placed, first: Path) -> None:
    before = {path.name: path.read_bytes() for path in first.iterdir() if path.is_file()}
    train(placed(FROM_FIRST, "loop.steps=2"), first.parent / "tuned")
    assert {path.name: path.read_bytes() for path in first.iterdir() if path.is_file()} == before


def test_another_network_grid_or_normalisation_is_refused(placed: Placed, first: Path) -> None:
    sentence = r"init\.run first has network NetworkSpec\(base=2.* wants NetworkSpec\(base=3.*: start"
    with pytest.raises(RecipeError, match=sentence):
        find_start(placed(FROM_FIRST, "network.base=3"))
    with pytest.raises(RecipeError, match=r"has working_voxel_nm 10\.0 and the recipe wants 20\.0: start"):
        find_start(placed(FROM_FIRST, "working_voxel_nm=20.0"))
    with pytest.raises(RecipeError, match=r"has normalisation .*clip=2\.0.* wants .*clip=3\.0"):
        find_start(placed(FROM_FIRST, "normalisation.clip=3.0"))


def test_a_missing_an_unfinished_and_a_damaged_run_are_refused(
    placed: Placed, folder: Path, first: Path
) -> None:
    with pytest.raises(RunError, match=r"absent is no run folder \(it has no run\.json\)"):
        train(placed("init.run=absent"), folder / "tuned")

    def die(told: Progress) -> None:
        raise RuntimeError(f"killed after {told.done}")

    with pytest.raises(RuntimeError, match="killed after 1"):
        train(placed(), folder / "half", tell=die)
    with pytest.raises(RunError, match="half holds an unfinished run"):
        train(placed("init.run=half"), folder / "tuned")
    weights = first / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x00\x01")
    with pytest.raises(RunError, match=r"weights\.safetensors differs from what run\.json records"):
        train(placed(FROM_FIRST), folder / "tuned")
    assert not (folder / "tuned").exists()


def test_a_run_goes_on_only_from_the_start_that_it_began_with(
    placed: Placed, folder: Path, first: Path
) -> None:
    def die(told: Progress) -> None:
        if told.done == 3:
            raise RuntimeError("killed")

    recipe = placed(FROM_FIRST)
    train(recipe, folder / "whole")
    with pytest.raises(RuntimeError, match="killed"):
        train(recipe, folder / "tuned", tell=die)
    started = json.loads((folder / "tuned" / "started.json").read_text())
    assert started["data"][-1] == load_run(first).facts["weights_sha256"]

    kept = folder / "kept"
    first.rename(kept)
    train(placed("loop.steps=3", "loop.seed=9"), first)
    with pytest.raises(RunError, match=r"tuned was started with other data \(fingerprints differ\)"):
        train(recipe, folder / "tuned", resume=True)
    first.rename(folder / "other")
    kept.rename(first)
    train(recipe, folder / "tuned", resume=True)
    one, two = (load_file(folder / name / "weights.safetensors") for name in ("whole", "tuned"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_an_adapted_run_tuned_on_few_labels_of_the_target_reads_only_those(
    placed: Placed, folder: Path, first: Path
) -> None:
    """The semi-supervised protocol: labels outside of the picked slices may be anything."""
    mask = tifffile.imread(folder / "mask.tif")
    tune = (
        FROM_FIRST,
        "loop.steps=2",
        "data.source.image=target.tif",
        "data.source.fraction=0.4",
        "validate.slices=[5,6]",
    )
    train(placed(*tune), folder / "one")
    from dmn_train.material import load_material

    (stack,) = load_material(placed(*tune)).train
    picked = stack.slices.tolist()
    assert len(picked) == 2
    for z in set(range(5)) - set(picked):
        mask[z] = np.rot90(mask[z], 2)
    tifffile.imwrite(folder / "mask.tif", mask)
    train(placed(*tune), folder / "two")
    one, two = (load_file(folder / name / "weights.safetensors") for name in ("one", "two"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_what_the_start_was_trained_on_cannot_be_held_out(placed: Placed, first: Path) -> None:
    """The recipe holds slice 5 out, and so did the run that it starts from."""
    find_start(placed(FROM_FIRST, "validate.slices=[5, 6]"))
    with pytest.raises(RecipeError, match=r"was trained on slices that validate\.slices now holds out"):
        find_start(placed(FROM_FIRST, "validate.slices=[4, 6]"))
    with pytest.raises(RecipeError, match="hold out slices that it held out as well"):
        find_start(placed(FROM_FIRST, "validate.slices=[0, 1]"))


def test_a_run_is_never_written_over_the_one_that_it_starts_from(placed: Placed, first: Path) -> None:
    before = (first / "weights.safetensors").read_bytes()
    with pytest.raises(OutputError, match="is the run that this one starts from, so it is kept"):
        train(placed(FROM_FIRST), first, overwrite=True)
    assert (first / "weights.safetensors").read_bytes() == before
