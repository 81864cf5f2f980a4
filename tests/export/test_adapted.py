"""A package of an adapted run has the graph of a source-only one: no discriminator, decoder, teacher."""

import shutil
from pathlib import Path

import onnx
import pytest

from dmn_export import pipeline
from dmn_export.pipeline import Wishes, export_run
from dmn_export.receptive import Reach
from dmn_runtime.package import Package
from dmn_runtime.selftest import run_test_tile
from dmn_train.loop import train
from dmn_train.recipe import load_recipe
from dmn_train.run import load_run

ADAPTED = ("dann", "ynet", "mean_teacher", "dismemnet")


@pytest.fixture
def packed(run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Package]:
    """Return the packages of a source-only run and of adapted ones over the same volume."""
    monkeypatch.setattr(pipeline, "TILE_PX", 64)
    monkeypatch.setattr(pipeline, "measure_reach", lambda *_: Reach(4, 28, 26))
    shutil.copytree(run_folder.parent, tmp_path / "data")
    packages = {}
    for method in ("source_only", *ADAPTED):
        overrides = [f"method.name={method}"]
        if method != "source_only":
            overrides += ["data.target.image=image.tif", "data.target.voxel_nm=[5,5,5]", "init.run=run"]
        folder = tmp_path / method
        train(load_recipe(tmp_path / "data" / "recipe.toml", tuple(overrides)), folder)
        output, wishes = tmp_path / f"{method}.zip", Wishes(precisions=("fp32",))
        exported = export_run(
            load_run(folder), output, wishes, timer=lambda runners, *_: dict.fromkeys(runners, 1e6)
        )
        packages[method] = exported.package
    return packages


def skeleton(package: Package) -> tuple[list[tuple[str, list[str], list[str]]], dict[str, tuple[int, ...]]]:
    """Return the nodes of a package's graph, with what goes in and out, and the shapes of its weights."""
    graph = onnx.load_from_string(package.network()).graph
    nodes = [(node.op_type, list(node.input), list(node.output)) for node in graph.node]
    return nodes, {weight.name: tuple(weight.dims) for weight in graph.initializer}


def test_the_graph_of_an_adapted_run_is_that_of_a_source_only_one(packed: dict[str, Package]) -> None:
    plain = skeleton(packed["source_only"])
    assert plain[0]
    for method in ADAPTED:
        assert skeleton(packed[method]) == plain
        assert packed[method].network() != packed["source_only"].network()
        assert run_test_tile(packed[method]).max_dp <= 1e-4


def test_a_package_says_where_its_weights_come_from(packed: dict[str, Package]) -> None:
    provenance = packed["dann"].contract.provenance["run"]
    assert isinstance(provenance, dict)
    assert provenance["method"] == "dann"
    assert provenance["init"]["method"] == "source_only"
    assert [origin["role"] for origin in provenance["data"]] == ["source", "target"]
    assert provenance["recipe"]["init"]["run"] == "run"
    assert provenance["recipe"]["data"]["target"][0]["image"] == "image.tif"
