"""From a finished run to a package, once, and what the package then says."""

import io
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import pytest
from PIL import Image

from dmn_export import pipeline
from dmn_export.certify import Answers, Timer, Verdicts, certify, probability, run_torch
from dmn_export.pipeline import Exported, Wishes, check_wishes, export_run, without_folders
from dmn_export.precision import to_int8
from dmn_export.receptive import Reach
from dmn_export.test_tensors import grey_from_tiles, phantom_image
from dmn_runtime.certificate.golden import read_golden
from dmn_runtime.certificate.tolerance import TOLERANCES, Tolerance
from dmn_runtime.cli import main
from dmn_runtime.engines.choose import Wish as RunWish
from dmn_runtime.engines.choose import choose
from dmn_runtime.errors import CertificateError, OutputError, RunError, UsageError
from dmn_runtime.package import Package, open_package
from dmn_runtime.selftest import run_test_tile
from dmn_train.real_tiles import real_tiles
from dmn_train.run import Run, load_run

CORE, HALO = 64, 28
EDGE = CORE + 2 * HALO
MOST = ("fp32", "fp16", "int8", "int8-trt")
"""All precisions but bf16, which not every processor has."""


@pytest.fixture(scope="module", autouse=True)
def small_tiles() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "TILE_PX", CORE)
        yield


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare a test the measurement that `package` has made."""
    monkeypatch.setattr(pipeline, "measure_reach", lambda *_: Reach(4, HALO, 26))


def speeds(of: Mapping[str, float]) -> Timer:
    """Return a timer that times nothing: `of` says how many times as fast as fp32 a precision is."""
    return lambda runners, *_: {one: 1e6 * of.get(one.precision, 1.0) for one in runners}


FAST = speeds({"int8": 2.0})
SLOW = speeds({"int8": 1.1})
FP32 = ("fp32",)


@pytest.fixture(scope="module")
def lax_int8() -> Iterator[None]:
    """Let 8 bits pass whatever they do: a network of two steps of training has nothing certain to keep."""
    lax = Tolerance(1.0, 1.0, speedup=1.5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TOLERANCES, "int8", lax)
        patch.setitem(TOLERANCES, "int8-trt", replace(lax, speedup=0.0))
        patch.setitem(TOLERANCES, "fp16", replace(lax, speedup=0.0))
        yield


@pytest.fixture(scope="module")
def made_from() -> list[np.ndarray]:
    """Collect the tiles that 8-bit networks are made from."""
    return []


@pytest.fixture(scope="module")
def exported(
    run_folder: Path,
    lax_int8: None,
    made_from: list[np.ndarray],
    tmp_path_factory: pytest.TempPathFactory,
) -> Exported:
    def watched(network: bytes, tiles: np.ndarray, rung: tuple[int, int]) -> bytes:
        made_from.append(tiles)
        return to_int8(network, tiles, rung)

    output = tmp_path_factory.mktemp("packages") / "tiny.zip"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "to_int8", watched)
        return export_run(load_run(run_folder), output, Wishes(precisions=MOST), timer=FAST)


@pytest.fixture(scope="module")
def package(exported: Exported) -> Package:
    return exported.package


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
    vesicles = replace(run, class_name="synaptic vesicle")
    other = export_run(vesicles, tmp_path / "other.zip", Wishes(precisions=FP32), timer=FAST).package
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
    assert list(contract.precisions) == list(MOST)
    assert contract.plans == ()
    certificates = contract.precisions["fp32"].certificates
    assert [one.engine for one in certificates] == ["cpu", "openvino"]
    for certificate in certificates:
        assert certificate.passed
        assert certificate.tiles == 8
        assert 0.0 <= certificate.max_dp <= 1e-4
        assert (certificate.voxels_per_s, certificate.speedup) == (1e6, None)
    assert [one.speedup for one in contract.precisions["int8"].certificates] == [2.0, 2.0]
    assert set(contract.members) == {
        "README.md",
        "bioimageio.yaml",
        "cover.png",
        "golden_input.npy",
        "golden_output.npy",
        "test_input.npy",
        "test_output.npy",
        "weights.onnx",
        "weights-fp16.onnx",
        "weights-int8.onnx",
        "weights-int8-trt.onnx",
    }


def test_the_members_are_the_networks_of_their_precisions(package: Package) -> None:
    kinds = {
        name: onnx.load_from_string(package.network(name)).graph.input[0].type.tensor_type.elem_type
        for name in MOST
    }
    assert kinds == {"fp32": 1, "fp16": 10, "int8": 1, "int8-trt": 1}
    operators = {
        name: {node.op_type for node in onnx.load_from_string(package.network(name)).graph.node}
        for name in MOST
    }
    assert [name for name in MOST if "QuantizeLinear" in operators[name]] == ["int8", "int8-trt"]


def test_golden_tiles_are_those_that_were_examined_and_the_trained_networks_answers(
    package: Package, run: Run
) -> None:
    golden = read_golden(package)
    tiles = real_tiles(run, 8, 16, EDGE).golden
    half_step = package.contract.normalisation.clip / 255
    np.testing.assert_allclose(golden.tiles, np.clip(tiles, -2, 2), atol=half_step + 1e-6)
    answer = probability(run_torch(run.network(), golden.tiles))[..., HALO:-HALO, HALO:-HALO]
    assert array(package, "golden_output.npy").shape == answer.shape == (8, 1, CORE, CORE)
    np.testing.assert_allclose(golden.probability, answer, atol=0.5 / 65535 + 1e-6)


def test_8_bit_networks_are_made_from_calibration_tiles_alone(
    package: Package, run: Run, made_from: list[np.ndarray]
) -> None:
    calibration = real_tiles(run, 8, 16, EDGE).calibration
    assert made_from
    for tiles in made_from:
        np.testing.assert_array_equal(tiles, calibration)
    golden = {tile.tobytes() for tile in read_golden(package).tiles}
    assert golden.isdisjoint(tile.tobytes() for tiles in made_from for tile in tiles)


def test_the_runtime_runs_what_was_exported(package: Package, tmp_path: Path) -> None:
    choice = choose(package, RunWish(engine="cpu", precision="int8"), lambda _: None)
    assert str(choice.candidate) == "cpu int8"


def test_every_engine_passes_on_the_golden_tiles_of_the_file(
    package: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dmn_runtime.engines.trial.ROUND_S", 0.0)
    said: list[str] = []
    choice = choose(open_package(package.path), RunWish(strict=True), said.append)
    assert {"cpu fp32", "openvino fp32"} <= {str(trial.candidate) for trial in choice.trials}
    assert [trial.fault for trial in choice.trials] == [None] * len(choice.trials)
    assert not [sentence for sentence in said if sentence.startswith("warning")]


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


def test_the_test_tensors_are_the_core_with_the_most_foreground_and_its_probability(package: Package) -> None:
    image, output = array(package, "test_input.npy"), array(package, "test_output.npy")
    best = np.argmax(read_golden(package).probability.sum(axis=(1, 2, 3)))
    core = array(package, "golden_input.npy")[best, :, HALO:-HALO, HALO:-HALO]
    np.testing.assert_array_equal(image[0], core)
    assert (image.shape, image.dtype) == ((1, 3, 64, 64), np.uint8)
    assert (output.shape, output.dtype) == ((1, 1, 64, 64), np.float32)
    assert 0.0 <= output.min() < output.max() <= 1.0


@pytest.mark.usefixtures("measured", "lax_int8")
def test_a_second_export_gives_the_same_bytes_but_for_what_was_timed(
    package: Package, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wishes = Wishes(precisions=MOST)
    again = export_run(run, tmp_path / "tiny.zip", wishes, timer=FAST).package
    assert again.sha256 == package.sha256
    assert [p.name for p in tmp_path.iterdir()] == ["tiny.zip"]
    spare_the_networks(package, monkeypatch)
    other = export_run(run, tmp_path / "other.zip", wishes, timer=speeds({"int8": 3.0})).package
    differ = [
        name for name, digest in other.contract.members.items() if package.contract.members[name] != digest
    ]
    assert differ == ["README.md", "bioimageio.yaml"]  # which tells the speeds, and which tells its hash
    assert other.contract.precisions["int8"].certificates[0].speedup == 3.0


@pytest.mark.usefixtures("measured", "lax_int8")
def test_8_bits_that_are_not_fast_here_are_left_out_and_said(
    package: Package, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spare_the_networks(package, monkeypatch)
    said: list[str] = []
    exported = export_run(run, tmp_path / "tiny.zip", Wishes(precisions=MOST), said.append, SLOW)
    assert exported.refused == tuple(
        f"int8 by {engine} is only 1.10 times as fast as fp32, wanted 1.5 times: if this machine was "
        "busy, make the package again when it is idle"
        for engine in ("cpu", "openvino")
    )
    assert list(exported.package.contract.precisions) == ["fp32", "fp16", "int8-trt"]
    assert "weights-int8.onnx" not in exported.package.contract.members
    assert [p.name for p in tmp_path.iterdir()] == ["tiny.zip"]
    assert "examining fp32, fp16, int8, int8-trt on 8 tiles" in said


@pytest.mark.usefixtures("measured", "lax_int8")
def test_strict_writes_nothing_where_a_precision_is_refused(
    package: Package, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spare_the_networks(package, monkeypatch)
    wishes = Wishes(precisions=MOST, strict=True)
    with pytest.raises(
        CertificateError, match=r"int8 by cpu is only 1\.10 .*no package was written; export without"
    ):
        export_run(run, tmp_path / "tiny.zip", wishes, timer=SLOW)
    assert list(tmp_path.iterdir()) == []
    assert export_run(run, tmp_path / "tiny.zip", wishes, timer=FAST).refused == ()


@pytest.mark.usefixtures("measured")
def test_a_precision_out_of_tolerance_is_left_out_and_its_worst_tile_shown(
    package: Package, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spare_the_networks(package, monkeypatch)
    monkeypatch.setitem(TOLERANCES, "fp16", Tolerance(0.0, 0.0))
    exported = export_run(run, tmp_path / "tiny.zip", Wishes(precisions=("fp32", "fp16")), timer=FAST)
    (sentence,) = exported.refused
    picture = tmp_path / "tiny.worst-fp16-cpu.png"
    assert sentence.startswith("fp16 by cpu differs from the trained network by ")
    assert sentence.endswith(f" of 8 ({picture} shows it)")
    with Image.open(picture) as panels:
        assert panels.size == (4 * CORE + 3 * 4, CORE)  # without the halo, which is not compared
    assert list(exported.package.contract.precisions) == ["fp32"]


@pytest.mark.usefixtures("measured")
def test_a_network_out_of_tolerance_writes_no_package(
    package: Package, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spare_the_networks(package, monkeypatch)
    monkeypatch.setitem(TOLERANCES, "fp32", Tolerance(0.0, 0.0))
    with pytest.raises(
        CertificateError, match=r"fp32 by cpu .* of 8 .*no package was written; export with another version"
    ):
        export_run(run, tmp_path / "tiny.zip", Wishes(precisions=FP32), timer=FAST)
    assert {p.suffix for p in tmp_path.iterdir()} == {".png"}


def spare_the_networks(package: Package, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the networks of a package instead of making them again."""
    monkeypatch.setattr(pipeline, "export_onnx", lambda *_: package.network())
    monkeypatch.setattr(pipeline, "to_fp16", lambda *_: package.network("fp16"))
    monkeypatch.setattr(pipeline, "to_int8", lambda *_: package.network("int8"))
    monkeypatch.setattr(pipeline, "to_int8_trt", lambda *_: package.network("int8-trt"))


@pytest.mark.parametrize(
    ("precisions", "said"),
    [
        (("fp32", "fp8"), r"there is no precision 'fp8': --precision takes fp32, fp16, bf16, int8, int8-trt"),
        (("fp16",), "--precision leaves out fp32, to which every package falls back: add it"),
        ((), "--precision leaves out fp32"),
    ],
)
def test_precisions_that_make_no_sense_are_refused(precisions: tuple[str, ...], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        check_wishes(Wishes(precisions=precisions), 0.5)


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
    *("--license", "CC-BY-4.0", "--test-input", "phantom", "--overwrite", "--precision", "fp32"),
]


@pytest.mark.usefixtures("measured")
def test_the_command_hears_wishes_and_prints_a_summary_and_the_next_step(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "GOLDEN_TILES", 4)
    monkeypatch.setattr(pipeline, "export_run", partial(export_run, timer=FAST))
    output = tmp_path / "tiny.zip"
    output.write_bytes(b"a former one")
    assert main(["export", str(run_folder), "-o", str(output), *WISHES]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert "examining fp32 on 4 and 4 tiles\n" in err
    package = open_package(output)
    assert (package.contract.name, package.contract.description) == ("Mito", "Finds them.")
    assert package.contract.threshold == 0.4
    assert list(package.contract.precisions) == ["fp32"]
    assert b"license: CC-BY-4.0" in package.read_member("bioimageio.yaml")
    assert b"no voxel of the training data" in package.read_member("README.md")
    assert lines[0].startswith(f"{output}: Mito, 0.")
    assert lines[0].endswith(f"sha256 {package.sha256[:12]}")
    assert lines[1:3] == [
        "  measured: stride 4 px, halo 28 px; slices in: 3, threshold 0.4",
        "  certified on 4 tiles:",
    ]
    assert lines[3].split()[:3] == ["precision", "run", "by"]
    assert [line.split()[:2] for line in lines[4:6]] == [["fp32", "onnxruntime"], ["fp32", "openvino"]]
    # Each column stands under its word.
    assert lines[4][lines[3].index("allowed") :].startswith("0.0005 ")
    assert lines[4][lines[3].index("Mvoxel/s") :].split() == ["1.00", "-"]
    assert lines[6] == f"next: dmn infer {output} STACK.tif -o segmentation.ome.zarr"


@pytest.mark.usefixtures("measured")
def test_with_phantoms_no_voxel_of_the_training_data_is_in_the_package(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "GOLDEN_TILES", 4)
    wishes = Wishes(precisions=FP32, test_input="phantom")
    package = export_run(run, tmp_path / "tiny.zip", wishes, timer=FAST).package
    grey = array(package, "golden_input.npy")
    golden = read_golden(package)
    assert grey.shape == (4, 3, EDGE, EDGE)
    real = grey_from_tiles(real_tiles(run, 4, 16, EDGE).golden, run.normalisation)
    assert {tile.tobytes() for tile in grey}.isdisjoint(tile.tobytes() for tile in real)
    # The same made-up tissue, but for how it was normalised: one monotone map for each image.
    for index, tile in enumerate(grey):
        image = phantom_image(3, EDGE, 5.0, index)[0]
        assert np.corrcoef(image.ravel(), tile.ravel())[0, 1] > 0.95
    answer = probability(run_torch(run.network(), golden.tiles))[..., HALO:-HALO, HALO:-HALO]
    np.testing.assert_allclose(golden.probability, answer, atol=0.5 / 65535 + 1e-6)
    cores = {tile[:, HALO:-HALO, HALO:-HALO].tobytes() for tile in grey}
    assert array(package, "test_input.npy").tobytes() in cores


@pytest.mark.usefixtures("measured")
@pytest.mark.parametrize(("test_input", "sizes"), [("phantom", [8, 8]), ("source", [8])])
def test_made_up_and_real_tiles_are_judged_apart(
    package: Package,
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    test_input: Literal["source", "phantom"],
    sizes: list[int],
) -> None:
    spare_the_networks(package, monkeypatch)
    judged: list[Sequence[Answers]] = []

    def watched(networks: Mapping[str, bytes], golden: Sequence[Answers], *rest: Any) -> Verdicts:
        judged.append(golden)
        return certify(networks, golden, *rest)

    monkeypatch.setattr(pipeline, "certify", watched)
    wishes = Wishes(precisions=FP32, test_input=test_input)
    made = export_run(run, tmp_path / "tiny.zip", wishes, timer=FAST).package
    (sets,) = judged
    assert [len(one.tiles) for one in sets] == sizes
    assert {one.halo_px for one in sets} == {HALO}
    np.testing.assert_array_equal(read_golden(made).tiles, sets[0].tiles)  # the first set travels
    real = grey_from_tiles(real_tiles(run, 8, 16, EDGE).golden, run.normalisation)
    np.testing.assert_array_equal(grey_from_tiles(sets[-1].tiles, run.normalisation), real)
    assert package.contract.precisions["fp32"].certificates[0].tiles == 8  # never the sum of both sets


def broken(*_: object) -> bytes:
    raise RuntimeError("no such\n operator")


@pytest.mark.usefixtures("measured", "lax_int8")
def test_a_precision_that_cannot_be_made_costs_no_other(
    package: Package, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spare_the_networks(package, monkeypatch)
    monkeypatch.setattr(pipeline, "to_fp16", broken)
    monkeypatch.setattr(pipeline, "to_int8", broken)
    exported = export_run(run, tmp_path / "tiny.zip", Wishes(precisions=MOST), timer=FAST)
    assert exported.refused == tuple(
        f"{name} by cpu cannot be made (RuntimeError: no such operator)" for name in ("fp16", "int8")
    )
    assert list(exported.package.contract.precisions) == ["fp32", "int8-trt"]
    assert [p.name for p in tmp_path.iterdir()] == ["tiny.zip"]
    strict = Wishes(precisions=MOST, strict=True)
    with pytest.raises(CertificateError, match=r"^fp16 by cpu cannot be made .*: no package was written; "):
        export_run(run, tmp_path / "strict.zip", strict, timer=FAST)
    assert [p.name for p in tmp_path.iterdir()] == ["tiny.zip"]


@pytest.mark.usefixtures("measured")
def test_pictures_stand_where_they_are_asked_for(
    package: Package, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spare_the_networks(package, monkeypatch)
    monkeypatch.setitem(TOLERANCES, "fp16", Tolerance(0.0, 0.0))
    (tmp_path / "temporary").mkdir()
    output, pictures = tmp_path / "temporary" / "pc.zip", tmp_path / "pc"
    wishes = Wishes(precisions=("fp32", "fp16"))
    (sentence,) = export_run(run, output, wishes, timer=FAST, pictures=pictures).refused
    assert sentence.endswith(f" ({tmp_path / 'pc.worst-fp16-cpu.png'} shows it)")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["pc.worst-fp16-cpu.png", "temporary"]
    assert [p.name for p in (tmp_path / "temporary").iterdir()] == ["pc.zip"]


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
        export_run(load_run(tmp_path / "moved" / "run"), tmp_path / "tiny.zip", Wishes(), timer=FAST)
    assert not (tmp_path / "tiny.zip").exists()
