"""A package of an adapted run has the graph of a source-only one: nothing that served its training."""

import shutil
from collections.abc import Callable
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

ADAPTED = ("dann", "ynet", "isc", "mean_teacher", "dismemnet", "distil")


Pack = Callable[[str], Package]


@pytest.fixture
def pack(run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pack:
    """Return what trains by a method, always over the same volume, and packs what comes of it."""
    monkeypatch.setattr(pipeline, "TILE_PX", 64)
    monkeypatch.setattr(pipeline, "measure_reach", lambda *_: Reach(4, 28, 26))
    shutil.copytree(run_folder.parent, tmp_path / "data")

    def packed(method: str) -> Package:
        overrides = [f"method.name={method}"]
        if method != "source_only":
            overrides += ["data.target.image=image.tif", "data.target.voxel_nm=[5,5,5]", "init.run=run"]
        if method == "distil":
            overrides += ["method.distil.teacher=run"]
        folder = tmp_path / method
        train(load_recipe(tmp_path / "data" / "recipe.toml", tuple(overrides)), folder)
        output, wishes = tmp_path / f"{method}.zip", Wishes(precisions=("fp32",))
        exported = export_run(
            load_run(folder), output, wishes, timer=lambda runners, *_: dict.fromkeys(runners, 1e6)
        )
        return exported.package

    return packed


def skeleton(package: Package) -> tuple[list[tuple[str, list[str], list[str]]], dict[str, tuple[int, ...]]]:
    """Return the nodes of a package's graph, with what goes in and out, and the shapes of its weights."""
    graph = onnx.load_from_string(package.network()).graph
    nodes = [(node.op_type, list(node.input), list(node.output)) for node in graph.node]
    return nodes, {weight.name: tuple(weight.dims) for weight in graph.initializer}


def test_the_graph_of_an_adapted_run_is_that_of_a_source_only_one(pack: Pack) -> None:
    source_only = pack("source_only")
    plain = skeleton(source_only)
    assert plain[0]
    for method in ADAPTED:
        package = pack(method)
        assert skeleton(package) == plain, method
        assert package.network() != source_only.network(), method
        assert run_test_tile(package).max_dp <= 1e-4, method


def test_a_package_says_where_its_weights_come_from(pack: Pack) -> None:
    provenance = pack("dann").contract.provenance["run"]
    assert isinstance(provenance, dict)
    assert provenance["method"] == "dann"
    assert provenance["init"]["method"] == "source_only"
    assert [origin["role"] for origin in provenance["data"]] == ["source", "target"]
    assert provenance["recipe"]["init"]["run"] == "run"
    assert provenance["recipe"]["data"]["target"][0]["image"] == "image.tif"
