"""run.json: what it says, and how a run is read back or refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tifffile
import torch

from dmn_runtime.contract import Normalisation
from dmn_runtime.errors import RunError
from dmn_train.loop import train
from dmn_train.networks.sizes import NetworkSpec
from dmn_train.recipe import PlacedRecipe
from dmn_train.run import load_run

Placed = Callable[..., PlacedRecipe]


@pytest.fixture
def run_folder(placed: Placed, tmp_path: Path) -> Path:
    train(placed("loop.steps=2"), tmp_path / "run")
    return tmp_path / "run"


def edited(run: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    facts = json.loads((run / "run.json").read_text())
    change(facts)
    (run / "run.json").write_text(json.dumps(facts))


def test_a_finished_folder_holds_these_files_and_no_other(run_folder: Path) -> None:
    assert sorted(p.name for p in run_folder.iterdir()) == [
        "curves.csv",
        "overlays",
        "run.json",
        "weights.safetensors",
    ]


def test_everything_comes_back(run_folder: Path, placed: Placed) -> None:
    run = load_run(run_folder)
    assert (run.name, run.method, run.threshold) == ("tiny", "source_only", 0.5)
    assert run.spec == NetworkSpec(base=2, levels=2, context_slices=0)
    assert (run.voxel_nm, run.working_voxel_nm) == ((5.0, 5.0, 5.0), 10.0)
    assert run.normalisation == Normalisation(1.0, 99.0, 2.0)
    assert run.placed == placed("loop.steps=2")
    assert len(run.domain.quantiles) == 7
    assert 0.05 < run.domain.foreground_share < 0.5
    (source,) = run.facts["data"]
    assert (source["role"], source["name"], source["shape"]) == ("source", "image.tif", [6, 96, 128])
    assert len(source["fingerprint"]) == len(source["mask_fingerprint"]) == 64
    assert {"low", "high", "clip"} == set(source["map"])
    assert run.facts["steps"] == 2
    assert run.facts["versions"]["torch"] == torch.__version__
    assert (run.facts["device"], run.facts["precision"]) == ("cpu", "32-true")


def test_the_class_comes_back_and_is_mitochondrion_where_an_older_run_says_none(
    placed: Placed, tmp_path: Path
) -> None:
    train(placed("loop.steps=1", "class_name=nucleus"), tmp_path / "run")
    assert load_run(tmp_path / "run").class_name == "nucleus"
    edited(tmp_path / "run", lambda facts: facts["recipe"].pop("class_name"))
    assert load_run(tmp_path / "run").class_name == "mitochondrion"


def test_the_network_comes_back_in_eval_mode_on_the_cpu(run_folder: Path) -> None:
    network = load_run(run_folder).network()
    assert not network.training
    image = torch.randn(1, 1, 16, 16)
    assert torch.equal(network(image), load_run(run_folder).network()(image))


def test_folders_that_are_no_run_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"is no run folder \(it has no run\.json\)"):
        load_run(tmp_path)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda f: f.pop("format"), r"run\.json is damaged \('format'\)"),
        (lambda f: f.update(format_version=3), "is dmn-run version 3, wanted dmn-run version 2"),
        (lambda f: f.update(format="other"), "is other version 2, wanted dmn-run version 2"),
        (lambda f: f.pop("network"), r"run\.json is damaged \(KeyError: 'network'\)"),
        (lambda f: f.update(voxel_nm=[5, 5]), r"run\.json is damaged \(ValueError"),
    ],
)
def test_a_damaged_or_newer_run_json_is_refused(
    run_folder: Path, change: Callable[[dict[str, Any]], Any], sentence: str
) -> None:
    edited(run_folder, change)
    with pytest.raises(RunError, match=sentence):
        load_run(run_folder)


def test_run_json_that_is_no_json_is_refused(run_folder: Path) -> None:
    (run_folder / "run.json").write_text("{")
    with pytest.raises(RunError, match=r"run\.json is damaged"):
        load_run(run_folder)


def test_other_weights_are_refused(run_folder: Path) -> None:
    run = load_run(run_folder)
    weights = run_folder / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(RunError, match=r"weights\.safetensors differs from what run\.json records"):
        run.network()
    weights.unlink()
    with pytest.raises(RunError, match=r"weights\.safetensors cannot be read"):
        run.network()


def test_weights_of_another_network_are_refused(run_folder: Path) -> None:
    edited(run_folder, lambda facts: facts["network"].update(base=3))
    with pytest.raises(RunError, match=r"does not hold the weights of NetworkSpec\(base=3"):
        load_run(run_folder).network()


def test_an_adapted_run_says_what_it_adapted_to(placed: Placed, tmp_path: Path, folder: Path) -> None:
    tifffile.imwrite(folder / "target.tif", 255 - tifffile.imread(folder / "image.tif"))
    recipe = placed(
        "data.target.image=target.tif",
        "data.target.voxel_nm=[5,5,5]",
        "method.name=coral",
        "loop.steps=1",
        "loop.crop_px=16",
    )
    train(recipe, tmp_path / "run")
    run = load_run(tmp_path / "run")
    assert run.method == "coral"
    assert run.placed == recipe
    source, target = run.facts["data"]
    assert (target["role"], target["name"], target["mask_fingerprint"]) == ("target", "target.tif", None)
    assert target["fingerprint"] != source["fingerprint"]
    assert (run.facts["init"], run.facts["selected_step"], run.facts["devices"]) == (None, 1, 1)


def test_a_run_of_version_1_is_read_with_its_weight_of_dice(run_folder: Path) -> None:
    def older(facts: dict[str, Any]) -> None:
        facts["format_version"] = 1
        facts["recipe"]["method"] = {"name": "source_only", "dice_weight": 0.5, "histogram_matching": 0.0}
        for key in ("loss", "init", "select"):
            del facts["recipe"][key]
        facts["recipe"]["data"]["target"] = None

    edited(run_folder, older)
    loss = load_run(run_folder).placed.recipe.loss
    assert (loss.cross_entropy, loss.dice) == (1.0, 0.5)
