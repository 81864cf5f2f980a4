"""From a finished run to a package, once, and what the package then says."""

import io
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dmn_export import pipeline
from dmn_export.certify import Tolerance
from dmn_export.pipeline import Wishes, export_run, without_folders
from dmn_export.receptive import Reach
from dmn_export.test_tensors import phantom_image
from dmn_runtime.cli import main
from dmn_runtime.errors import CertificateError, OutputError, RunError, UsageError
from dmn_runtime.package import Package, open_package
from dmn_runtime.selftest import run_test_tile
from dmn_train.run import Run, load_run


@pytest.fixture(scope="module", autouse=True)
def small_tiles() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "TILE_PX", 64)
        yield


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare a test the measurement that `package` has made."""
    monkeypatch.setattr(pipeline, "measure_reach", lambda *_: Reach(4, 28, 26))


@pytest.fixture(scope="module")
def package(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Package:
    return export_run(load_run(run_folder), tmp_path_factory.mktemp("packages") / "tiny.zip", Wishes())


@pytest.fixture
def run(run_folder: Path) -> Run:
    return load_run(run_folder)


def array(package: Package, member: str) -> np.ndarray:
    loaded: np.ndarray = np.load(io.BytesIO(package.read_member(member)), allow_pickle=False)
    return loaded


def test_the_runtime_gives_the_test_output_again(package: Package) -> None:
    assert run_test_tile(package).max_dp <= 1e-4


@pytest.mark.usefixtures("measured")
def test_the_class_is_called_as_in_the_recipe(package: Package, run: Run, tmp_path: Path) -> None:
    assert package.contract.classes == ("mitochondrion",)
    other = export_run(replace(run, class_name="synaptic vesicle"), tmp_path / "other.zip", Wishes())
    assert other.contract.classes == ("synaptic vesicle",)
    assert b"synaptic_vesicle" in other.read_member("bioimageio.yaml")


def test_the_contract_holds_what_was_measured_and_what_the_run_knows(package: Package, run: Run) -> None:
    contract = package.contract
    assert (contract.name, contract.description) == ("tiny", "tiny, trained with source_only")
    assert (contract.in_channels, contract.context_slices) == (3, 1)
    assert (contract.stride_px, contract.halo_px) == (4, 28)
    assert contract.voxel_nm == (5.0, 5.0, 5.0)
    assert contract.working_voxel_nm is None
    assert contract.normalisation == run.normalisation
    assert contract.domain == run.domain
    assert contract.threshold == run.threshold
    certificate = contract.precisions["fp32"].certificate
    assert certificate.passed
    assert certificate.tiles == 8
    assert 0.0 <= certificate.max_dp <= 1e-4
    assert set(contract.members) == {
        "README.md",
        "bioimageio.yaml",
        "cover.png",
        "test_input.npy",
        "test_output.npy",
        "weights.onnx",
    }


def test_provenance_tells_run_and_libraries_but_no_folder(package: Package, run_folder: Path) -> None:
    provenance = package.contract.provenance
    assert provenance["run"]["seed"] == 0
    assert (
        provenance["run"]["weights_sha256"]
        == json.loads((run_folder / "run.json").read_text())["weights_sha256"]
    )
    assert provenance["run"]["recipe"]["data"]["source"]["image"] == "image.tif"
    assert [origin["role"] for origin in provenance["run"]["data"]] == ["source"]
    assert set(provenance["export"]) == {"dmn", "python", "torch", "onnx", "onnxscript", "onnxruntime"}
    for name in ("README.md", "bioimageio.yaml", "weights.onnx"):
        assert str(run_folder.parent).encode() not in package.read_member(name)
    assert str(run_folder.parent) not in json.dumps(provenance)


def test_the_test_tensors_are_a_tile_of_the_source_and_its_probability(package: Package) -> None:
    image, output = array(package, "test_input.npy"), array(package, "test_output.npy")
    assert (image.shape, image.dtype) == ((1, 3, 64, 64), np.uint8)
    assert (output.shape, output.dtype) == ((1, 1, 64, 64), np.float32)
    assert 0.0 <= output.min() < output.max() <= 1.0


@pytest.mark.usefixtures("measured")
def test_a_second_export_gives_the_same_bytes(package: Package, run: Run, tmp_path: Path) -> None:
    assert export_run(run, tmp_path / "tiny.zip", Wishes()).sha256 == package.sha256
    assert [p.name for p in tmp_path.iterdir()] == ["tiny.zip"]


@pytest.mark.usefixtures("measured")
def test_a_network_out_of_tolerance_writes_nothing(
    package: Package, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "export_onnx", lambda *_: package.network())
    monkeypatch.setattr(pipeline, "FP32_TOLERANCE", Tolerance(0.0, 0.0))
    with pytest.raises(CertificateError, match=r"worst on tile . of 8: nothing was written"):
        export_run(run, tmp_path / "tiny.zip", Wishes())
    assert list(tmp_path.iterdir()) == []


def test_wishes_that_make_no_sense_are_refused_before_any_work(run: Run, tmp_path: Path) -> None:
    lost = replace(run, folder=tmp_path / "no weights here")
    with pytest.raises(UsageError, match="--threshold is 1, wanted a number between 0 and 1"):
        export_run(lost, tmp_path / "tiny.zip", Wishes(threshold=1.0))
    with pytest.raises(OutputError, match=r"does not end in \.zip"):
        export_run(lost, tmp_path / "tiny", Wishes())
    with pytest.raises(RunError):
        export_run(lost, tmp_path / "tiny.zip", Wishes())


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ({"image": "../lab/mouse.h5::raw/c0"}, {"image": "mouse.h5::raw/c0"}),
        ({"mask": "C:\\lab\\mask.tif"}, {"mask": "mask.tif"}),
        (
            {"any": ["/home/someone/x.tif", "D:/x/y.tif", "\\\\server\\share\\z.tif"]},
            {"any": ["x.tif", "y.tif", "z.tif"]},
        ),
        ({"name": "epfl 5/5/5 nm", "seed": 3, "lr": 0.1}, {"name": "epfl 5/5/5 nm", "seed": 3, "lr": 0.1}),
        ({"image": None}, {"image": None}),
        ({"path": "slices/"}, {"path": "slices"}),
    ],
)
def test_paths_lose_their_folders(value: object, kept: object) -> None:
    assert without_folders(value) == kept


# The command


WISHES = [
    *("--name", "Mito", "--description", "Finds them.", "--threshold", "0.4"),
    *("--license", "CC-BY-4.0", "--test-input", "phantom", "--overwrite"),
]


@pytest.mark.usefixtures("measured")
def test_the_command_hears_wishes_and_prints_a_summary_and_the_next_step(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "tiny.zip"
    output.write_bytes(b"a former one")
    assert main(["export", str(run_folder), "-o", str(output), *WISHES]) == 0
    lines = capsys.readouterr().out.splitlines()
    package = open_package(output)
    assert (package.contract.name, package.contract.description) == ("Mito", "Finds them.")
    assert package.contract.threshold == 0.4
    assert b"license: CC-BY-4.0" in package.read_member("bioimageio.yaml")
    assert b"no voxel of the training data" in package.read_member("README.md")
    assert np.array_equal(array(package, "test_input.npy"), phantom_image(3, 64, 5.0))
    assert lines[0].startswith(f"{output}: Mito, 0.")
    assert lines[0].endswith(f"sha256 {package.sha256[:12]}")
    assert lines[1:3] == ["  measured: stride 4 px, halo 28 px", "  slices in: 3, threshold 0.4"]
    assert lines[3].startswith("  fp32 on 8 tiles by onnxruntime ")
    assert "(allowed 0.0001)" in lines[3]
    assert lines[4] == f"next: dmn infer {output} STACK.tif -o segmentation.ome.zarr"


def test_the_command_refuses_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(tmp_path), "-o", str(tmp_path / "tiny.zip")]) == 2
    assert capsys.readouterr().err == (
        f"dmn export: {tmp_path} is no run folder (it has no run.json): make one with dmn train\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("measured")
def test_changed_training_data_is_noticed(run_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(run_folder.parent, tmp_path / "moved")
    image = tmp_path / "moved" / "image.tif"
    content = bytearray(image.read_bytes())
    content[-1 - 96 * 80 // 2] ^= 0xFF  # a voxel: what follows the last one is padding
    image.write_bytes(content)
    facts = json.loads((tmp_path / "moved" / "run" / "run.json").read_text())
    facts["recipe_folder"] = str(tmp_path / "moved")
    (tmp_path / "moved" / "run" / "run.json").write_text(json.dumps(facts))
    with pytest.raises(RunError, match="not the one that this run was trained on"):
        export_run(load_run(tmp_path / "moved" / "run"), tmp_path / "tiny.zip", Wishes())
    assert not (tmp_path / "tiny.zip").exists()
