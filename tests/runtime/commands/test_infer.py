"""`dmn infer` from the outside: what it writes, how it goes on after a kill, what it refuses."""

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from _thread import interrupt_main
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import tifffile
import zarr

from dmn_runtime.cli import main
from dmn_runtime.commands.infer import parse_spacing, parse_triple
from dmn_runtime.engines import choose, trial
from dmn_runtime.engines.examination import Wish
from dmn_runtime.errors import UsageError
from dmn_runtime.gpu.memory_plan import BatchShape
from dmn_runtime.inference import as_begun
from dmn_runtime.setup import ENGINE_KEY
from dmn_runtime.sink.ledger import Ledger, LedgerHeader

Package = Callable[..., Path]


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """Return a TIFF of smooth random voxels whose voxel size is 5 nm in the plane."""
    path = tmp_path / "stack.tif"
    write_stack(path, (3, 70, 90), seed=0)
    return path


def write_stack(path: Path, shape: tuple[int, int, int], seed: int) -> None:
    coarse = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    smooth = (coarse // 2 + np.roll(coarse, 1, axis=2) // 2).astype(np.uint8)
    sizes = {f"PhysicalSize{axis}": nm for axis, nm in zip("ZYX", (50.0, 5.0, 5.0), strict=True)}
    units = {f"PhysicalSize{axis}Unit": "nm" for axis in "ZYX"}
    tifffile.imwrite(
        path, smooth, ome=True, metadata={"axes": "ZYX", **sizes, **units}, photometric="minisblack"
    )


def files(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder with its bytes."""
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.suffix != ".lock"  # a killed run leaves its empty lock file, held by nobody
    }


def infer(*words: object) -> int:
    """Run the command, on ONNX Runtime unless the words name an engine: bytes must not depend on speeds."""
    engine = () if "--engine" in words else ("--engine", "cpu")
    return main(["infer", *map(str, words), *engine])


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """Run, and return the one sentence of the refusal."""
    assert infer(*words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    said = [line for line in err.splitlines() if not line.startswith("examining engines, once ")]
    assert len(said) == 1, err
    assert said[0].startswith("dmn infer: ")
    return said[0]


def test_zarr_and_tiff_hold_the_same_and_say_their_voxel_size(
    small_package: Package, stack: Path, tmp_path: Path
) -> None:
    package = small_package(working_nm=10.0)
    assert infer(package, stack, "-o", tmp_path / "a.ome.zarr", "--threshold", 0.4) == 0
    assert infer(package, stack, "-o", tmp_path / "b.tif", "--threshold", 0.4, "--block", "1,32,48") == 0
    group = zarr.open_group(tmp_path / "a.ome.zarr", mode="r")
    probability, mask = group["0"][:], group["labels/mask/0"][:]
    np.testing.assert_array_equal(probability, tifffile.imread(tmp_path / "b.probability.tif"))
    np.testing.assert_array_equal(mask, tifffile.imread(tmp_path / "b.tif"))
    np.testing.assert_array_equal(mask, probability >= 102)
    assert 0 < mask.mean() < 1
    scale = group.attrs["ome"]["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]["scale"]
    assert scale == [50.0, 5.0, 5.0]
    report = json.loads((tmp_path / "a.report.json").read_text())
    assert report["plan"]["blocks"] == 1
    assert report["voxels"] == 3 * 70 * 90
    assert report["foreground_share"] == pytest.approx(mask.mean())
    assert (tmp_path / "a.preview.png").read_bytes().startswith(b"\x89PNG")
    assert not list(tmp_path.glob("*.partial")) + list(tmp_path.glob("*.jsonl"))


def test_the_working_grid_can_be_written(small_package: Package, stack: Path, tmp_path: Path) -> None:
    assert infer(small_package(working_nm=10.0), stack, "-o", tmp_path / "a.tif", "--at", "working") == 0
    assert tifffile.imread(tmp_path / "a.tif").shape == (3, 35, 45)


def test_json_is_all_that_json_prints(
    small_package: Package, stack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert infer(small_package(), stack, "-o", tmp_path / "a.tif", "--json", "--check-seams") == 0
    report = json.loads(capsys.readouterr().out)
    assert report == json.loads((tmp_path / "a.report.json").read_text())
    assert report["seams"]["faces"]["voxels"] == 0


def test_the_seam_score_is_zero_with_the_halo_and_not_without(small_package: Package, tmp_path: Path) -> None:
    write_stack(tmp_path / "s.tif", (2, 200, 200), seed=1)
    worst = []
    for halo_px in (6, 2):
        output = tmp_path / f"{halo_px}.tif"
        words = ["--tile", 50, "--check-seams", "--block", "1,128,128"]
        assert infer(small_package(halo_px=halo_px), tmp_path / "s.tif", "-o", output, *words) == 0
        seams = json.loads(output.with_suffix(".report.json").read_text())["seams"]
        assert seams["faces"]["voxels"] > 5000
        assert seams["interior"]["max_grey"] <= 1
        worst.append(seams["faces"]["max_grey"])
    assert worst[0] <= 1
    assert worst[1] > 10


def start(package: Path, stack: Path, output: Path, *more: str) -> "subprocess.Popen[bytes]":
    """Start a run in a process of its own and wait until some of its 192 blocks are finished."""
    words = [
        "infer",
        package,
        stack,
        "-o",
        output,
        "--block",
        "1,64,64",
        "--workers",
        1,
        "--engine",
        "cpu",
        *more,
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "dmn_runtime", *map(str, words)], stderr=subprocess.PIPE, env=os.environ
    )
    ledger = output.with_name(output.name + ".ledger.jsonl")
    deadline = time.monotonic() + 60
    while not ledger.exists() or ledger.read_bytes().count(b"\n") < 6:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return process


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL and SIGTERM are POSIX")
@pytest.mark.parametrize("suffix", [".ome.zarr", ".tif"])
@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_run_resumes_to_the_same_bytes(
    small_package: Package, tmp_path: Path, suffix: str, blow: signal.Signals
) -> None:
    package, stack = small_package(context=1), tmp_path / "stack.tif"
    write_stack(stack, (12, 256, 256), seed=2)
    (tmp_path / "killed").mkdir()
    (tmp_path / "whole").mkdir()
    output = tmp_path / "killed" / f"seg{suffix}"
    process = start(package, stack, output)
    process.send_signal(blow)
    _, said = process.communicate(timeout=60)
    assert process.returncode == (-9 if blow is signal.SIGKILL else 130)
    assert not output.exists()
    if blow is signal.SIGTERM:
        assert b"run again with --resume" in said
    words = ["--block", "1,64,64", "--workers", 2]
    assert infer(package, stack, "-o", output, "--resume", *words) == 0
    report = json.loads(output.with_name("seg.report.json").read_text())
    assert report["resumed"]
    assert 0 < report["voxels"] < 12 * 256 * 256
    assert infer(package, stack, "-o", tmp_path / "whole" / f"seg{suffix}", *words) == 0
    resumed, whole = files(tmp_path / "killed"), files(tmp_path / "whole")
    resumed.pop("seg.report.json")
    full_report = json.loads(whole.pop("seg.report.json"))
    assert resumed == whole
    assert report["foreground_share"] == full_report["foreground_share"]


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")
def test_another_input_package_or_plan_is_not_resumed(
    small_package: Package, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package, stack, output = small_package(), tmp_path / "stack.tif", tmp_path / "seg.ome.zarr"
    write_stack(stack, (12, 256, 256), seed=2)
    process = start(package, stack, output)
    process.kill()
    process.communicate()
    before = files(tmp_path)
    other = tmp_path / "other.tif"
    write_stack(other, (12, 256, 256), seed=3)
    words = ["-o", output, "--block", "1,64,64", "--resume"]
    assert "input" in refused(capsys, package, other, *words)
    assert "package" in refused(capsys, small_package(halo_px=8), stack, *words)
    assert "plan's tile" in refused(capsys, package, stack, *words, "--tile", 40)
    assert "threshold" in refused(capsys, package, stack, *words, "--threshold", 0.7)
    assert "--resume" in refused(capsys, package, stack, "-o", output)
    other.unlink()
    assert files(tmp_path) == before
    assert infer(package, stack, *words) == 0


def test_a_finished_output_is_not_written_again(
    small_package: Package, stack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [small_package(), stack, "-o", tmp_path / "seg.ome.zarr"]
    assert infer(*words) == 0
    before = files(tmp_path)
    capsys.readouterr()
    assert "exists already" in refused(capsys, *words)
    assert infer(*words, "--resume") == 0
    assert "is complete already" in capsys.readouterr().err
    assert files(tmp_path) == before
    assert "another threshold" in refused(capsys, *words, "--resume", "--threshold", 0.7)
    assert "another package" in refused(capsys, small_package(halo_px=8), *words[1:], "--resume")
    other = tmp_path / "other.tif"
    write_stack(other, (3, 70, 90), seed=5)
    assert "another input" in refused(capsys, words[0], other, *words[2:], "--resume")
    assert infer(*words, "--overwrite", "--threshold", 0.9) == 0
    assert files(tmp_path) != before
    (tmp_path / "seg.report.json").write_text("{}")
    capsys.readouterr()
    assert "not known what it was made from" in refused(capsys, *words, "--resume", "--threshold", 0.9)


def test_a_run_that_ends_before_its_report_goes_on_to_it(
    small_package: Package, stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dmn_runtime import inference

    words = [small_package(), stack, "-o", tmp_path / "seg.ome.zarr"]
    assert infer(*words) == 0
    whole = files(tmp_path)

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(inference, "write_preview_beside", interrupted)
        assert infer(*words, "--overwrite", "--threshold", 0.9) == 130
    assert not (tmp_path / "seg.report.json").exists()
    assert infer(*words, "--resume", "--threshold", 0.9) == 0
    report = json.loads((tmp_path / "seg.report.json").read_text())
    assert report["threshold"] == 0.9
    assert report["voxels"] == 0
    assert report["resumed"]
    assert set(files(tmp_path)) == set(whole)


def test_two_runs_of_one_output_are_kept_apart(
    small_package: Package, stack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from dmn_runtime.sink.lock import output_lock

    output = tmp_path / "seg.ome.zarr"
    with output_lock(output):
        for words in ([], ["--overwrite"], ["--resume"]):
            said = refused(capsys, small_package(), stack, "-o", output, *words)
            assert "being written by another run" in said
    assert infer(small_package(), stack, "-o", output) == 0
    assert not list(tmp_path.glob("*.lock"))


def test_an_impatient_second_interrupt_leaves_a_run_that_can_be_resumed(
    small_package: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack, output = tmp_path / "stack.tif", tmp_path / "seg.ome.zarr"
    write_stack(stack, (4, 128, 128), seed=2)
    words = [small_package(), stack, "-o", output, "--block", "1,64,64"]
    record, recorded = Ledger.record, []

    def impatient(ledger: Ledger, index: int, crc: int) -> None:
        record(ledger, index, crc)
        recorded.append(index)
        if len(recorded) == 2:
            for _ in range(3):
                interrupt_main()
                time.sleep(0.15)  # longer than the stream goes on without a look

    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "record", impatient)
        assert infer(*words) == 130
    assert len(recorded) == 2
    assert infer(*words, "--resume") == 0


def test_a_full_disk_anywhere_is_one_sentence_and_can_be_resumed(
    small_package: Package,
    stack: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from dmn_runtime.sink.ome_zarr import OmeZarrSink

    words = [small_package(), stack, "-o", tmp_path / "seg.ome.zarr", "--block", "1,64,64"]
    synced, calls = OmeZarrSink._sync, []

    def full(sink: OmeZarrSink, region: object) -> None:
        calls.append(region)
        if len(calls) > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        synced(sink, region)

    with monkeypatch.context() as patched:
        patched.setattr(OmeZarrSink, "_sync", full)
        assert "the disk is full" in refused(capsys, *words)
    assert infer(*words, "--resume") == 0


def test_voxel_sizes_too_far_apart_are_refused(
    small_package: Package, stack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [small_package(working_nm=10.0), stack, "-o", tmp_path / "seg.tif", "--voxel-nm", "50,5000,5000"]
    assert "check the voxel size" in refused(capsys, *words)
    huge = [small_package(), stack, "-o", tmp_path / "seg.tif", "--block", "8,9999999,9999999"]
    assert infer(*huge) == 0  # blocks are cut to the volume


def test_bad_options_are_refused_in_one_sentence_and_leave_nothing(
    small_package: Package, stack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package, output = small_package(), tmp_path / "out" / "seg.ome.zarr"
    output.parent.mkdir()
    plain = tmp_path / "plain.tif"
    tifffile.imwrite(plain, tifffile.imread(stack), photometric="minisblack")
    for words, sentence in [
        ([package, tmp_path / "no.tif", "-o", output], "no.tif"),
        ([tmp_path / "no.zip", stack, "-o", output], "no.zip"),
        ([package, stack, "-o", output.with_suffix(".png")], ".ome.zarr"),
        ([package, stack, "-o", tmp_path / "nowhere" / "seg.tif"], "does not exist"),
        ([package, stack, "-o", package / "seg.tif"], "not a folder"),
        ([package, stack, "-o", output, "--engine", "warp"], "no engine 'warp'"),
        ([package, stack, "-o", output, "--precision", "int8"], "holds no precision 'int8'"),
        ([package, stack, "-o", output, "--threshold", 1.5], "between 0 and 1"),
        ([package, stack, "-o", output, "--workers", 0], "at least 1"),
        ([package, stack, "-o", output, "--block", "0,8,8"], "at least 1"),
        ([package, stack, "-o", output, "--tile", -4], "at least 1"),
        ([package, stack, "-o", output, "--resume"], "nothing to resume"),
        ([package, stack, "-o", output, "--resume", "--overwrite"], "choose one"),
        ([package, stack, "-o", stack, "--overwrite"], "choose another output"),
        ([package, f"{output}::0", "-o", output, "--overwrite"], "choose another output"),
        ([package, tmp_path, "-o", output], "choose another output"),
        ([small_package(working_nm=10.0), plain, "-o", output], "--voxel-nm"),
    ]:
        assert sentence in refused(capsys, *words)
    assert list(output.parent.iterdir()) == []


def test_a_constant_volume_is_refused(
    small_package: Package, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tifffile.imwrite(tmp_path / "flat.tif", np.full((2, 40, 40), 7, np.uint8), photometric="minisblack")
    words = [small_package(), tmp_path / "flat.tif", "-o", tmp_path / "seg.tif"]
    assert "is constant (grey value 7 from the 1st to the 99th percentile)" in refused(capsys, *words)
    assert [p.name for p in tmp_path.iterdir()] == ["flat.tif"]


def test_input_that_breaks_before_the_first_block_leaves_nothing(
    small_package: Package,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from dmn_runtime import workforce
    from dmn_runtime.errors import VolumeError

    def broken(*_: object) -> None:
        raise VolumeError("the file vanished")

    write_stack(tmp_path / "s.tif", (2, 40, 40), seed=0)
    monkeypatch.setattr(workforce, "read_working", broken)
    assert "vanished" in refused(capsys, small_package(), tmp_path / "s.tif", "-o", tmp_path / "seg.ome.zarr")
    assert [p.name for p in tmp_path.iterdir()] == ["s.tif"]


def test_a_full_disk_is_one_sentence_and_the_run_goes_on_once_there_is_room(
    small_package: Package, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", str(small)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.decode().strip()}")
    try:
        rng = np.random.default_rng(0)
        noise = rng.integers(0, 256, (24, 256, 256), dtype=np.uint8)
        tifffile.imwrite(tmp_path / "s.tif", noise, photometric="minisblack")
        words = [small_package(), tmp_path / "s.tif", "-o", small / "seg.ome.zarr", "--block", "1,128,128"]
        assert "the disk is full" in refused(capsys, *words)
        assert sorted(p.name for p in small.iterdir()) == [
            "seg.ome.zarr.ledger.jsonl",
            "seg.ome.zarr.partial",
        ]
        subprocess.run(["mount", "-o", "remount,size=64m", str(small)], check=True)
        assert infer(*words, "--resume") == 0
        assert infer(*words[:3], tmp_path / "whole.ome.zarr", *words[4:]) == 0
        assert files(small / "seg.ome.zarr") == files(tmp_path / "whole.ome.zarr")
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_blocks_beyond_the_machines_memory_are_refused(
    small_package: Package,
    stack: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from dmn_runtime import setup

    monkeypatch.setattr(setup, "memory_bytes", lambda: 100_000)
    assert "give a smaller --block" in refused(capsys, small_package(), stack, "-o", tmp_path / "seg.tif")
    assert [p.name for p in tmp_path.iterdir()] == ["stack.tif"]
    assert infer(small_package(), stack, "-o", tmp_path / "seg.tif", "--block", "1,16,16") == 0


@pytest.mark.parametrize("text", ["1,2", "a,b,c", "1,2,3,4", "1.5,2,3", ""])
def test_blocks_are_three_whole_numbers(text: str) -> None:
    with pytest.raises(UsageError, match="three whole numbers"):
        parse_triple("--block", text)


@pytest.mark.parametrize("text", ["5,5", "x,5,5", "0,5,5", "-1,5,5", "inf,5,5", "nan,5,5"])
def test_voxel_sizes_are_three_lengths(text: str) -> None:
    with pytest.raises(UsageError, match="lengths in nm"):
        parse_spacing("--voxel-nm", text)
    assert parse_spacing("--voxel-nm", "50,4.6,4.6") == (50.0, 4.6, 4.6)


# The engine


@pytest.fixture
def no_race(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every engine be timed by a single call."""
    monkeypatch.setattr(trial, "ROUND_S", 0.0)
    monkeypatch.setattr(trial, "ROUNDS", 1)


@pytest.fixture
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a cache folder in which nothing is remembered."""
    folder = tmp_path_factory.mktemp("engines")
    monkeypatch.setenv("DMN_CACHE_DIR", str(folder))
    return folder


@pytest.mark.usefixtures("no_race", "own_cache")
def test_the_engine_is_examined_once_and_the_report_says_why_it_runs(
    small_package: Package, stack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [small_package(), stack, "--engine", "auto", "--overwrite", "-o", tmp_path / "seg.tif"]
    assert infer(*words) == 0
    out, err = capsys.readouterr()
    assert err.startswith("examining engines, once for this package on this machine: ")
    report = json.loads((tmp_path / "seg.report.json").read_text())
    assert report["precision"] == "fp32"
    assert report["engine"].startswith("fp32 by o")
    assert f"\nchosen: {report['engine_reason']}\n" in out
    assert report["choose_s"] >= 0
    assert infer(*words) == 0
    assert "examining" not in capsys.readouterr().err
    again = json.loads((tmp_path / "seg.report.json").read_text())
    assert again["engine_reason"] == report["engine_reason"]
    assert again["engine"] == report["engine"]


def biased(network: bytes, bias: float) -> bytes:
    """Return a network whose logits are larger by `bias`."""
    model = onnx.load_from_string(network)
    model.graph.node[-1].output[0] = "before"
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(bias, np.float32), "more"))
    model.graph.node.append(onnx.helper.make_node("Add", ["before", "more"], ["logits"]))
    return bytes(model.SerializeToString())


def with_int8(package: Path, path: Path, bias: float) -> Path:
    """Copy a package and add a precision int8: the same network, its logits larger by `bias`.

    Its certificate allows what int8 may stray, at the threshold 0.625: 8-bit probabilities from
    159.5 / 255, whose logit is 0.5131.
    """
    with zipfile.ZipFile(package) as archive:
        document = json.loads(archive.read("dmn.json"))
        members = {name: archive.read(name) for name in document["members"]}
    network = biased(members["weights.onnx"], bias)
    [certificate] = document["precisions"]["fp32"]["certificates"]
    changes = {"tolerance_max_dp": 0.5, "tolerance_iou_change": 0.005, "threshold": 0.625}
    precision = {"member": "weights-int8.onnx", "certificates": [certificate | changes]}
    document["precisions"]["int8"] = precision
    document["members"]["weights-int8.onnx"] = hashlib.sha256(network).hexdigest()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("dmn.json", json.dumps(document))
        for name, content in {**members, "weights-int8.onnx": network}.items():
            archive.writestr(name, content)
    return path


@pytest.mark.usefixtures("own_cache")
def test_a_precision_that_fails_here_falls_back_aloud_or_is_refused(
    small_package: Package, stack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package = with_int8(small_package(), tmp_path / "two.zip", bias=2.0)
    words = [package, stack, "-o", tmp_path / "seg.tif", "--precision", "int8"]
    said = refused(capsys, *words, "--strict")
    assert "cpu int8 is refused: it does not segment as the package's certificate says" in said
    assert not (tmp_path / "seg.tif").exists()
    assert infer(*words) == 0
    err = capsys.readouterr().err
    assert "warning: cpu int8 is not used: it does not segment" in err
    assert "warning: cpu fp32 runs instead\n" in err
    report = json.loads((tmp_path / "seg.report.json").read_text())
    assert (report["precision"], report["threshold"]) == ("fp32", 0.5)


@pytest.mark.usefixtures("own_cache")
def test_the_threshold_is_that_of_the_precision_that_runs(
    small_package: Package, stack: Path, tmp_path: Path
) -> None:
    words = [with_int8(small_package(), tmp_path / "two.zip", bias=0.5131), stack, "-o", tmp_path / "seg.tif"]
    assert infer(*words, "--precision", "int8") == 0
    report = json.loads((tmp_path / "seg.report.json").read_text())
    assert (report["precision"], report["threshold"]) == ("int8", 0.625)
    assert report["engine"].startswith("int8 by onnxruntime ")
    assert infer(*words, "--precision", "int8", "--overwrite", "--threshold", 0.25) == 0
    assert json.loads((tmp_path / "seg.report.json").read_text())["threshold"] == 0.25


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")
@pytest.mark.usefixtures("no_race", "own_cache")
def test_a_resumed_run_takes_the_engine_that_it_was_begun_with(
    small_package: Package,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    package, stack, output = small_package(), tmp_path / "stack.tif", tmp_path / "seg.ome.zarr"
    package = with_int8(package, tmp_path / "two.zip", bias=0.5131)
    write_stack(stack, (12, 256, 256), seed=2)
    process = start(package, stack, output, "--precision", "int8")
    process.kill()
    process.communicate()
    words = [package, stack, "-o", output, "--block", "1,64,64", "--resume"]
    assert "engine was" in refused(capsys, *words, "--precision", "fp32", "--threshold", 0.625)
    # Whichever is the fastest now: fp32 by another engine, were the choice left to speed.
    monkeypatch.setattr(choose, "fastest", lambda trials: trials[-1])
    assert infer(*words, "--engine", "auto") == 0
    report = json.loads((tmp_path / "seg.report.json").read_text())
    assert report["precision"] == "int8"
    assert report["engine"].startswith("int8 by onnxruntime ")
    assert report["engine_reason"] == "cpu int8, the only one in question"


@pytest.mark.usefixtures("own_cache")
def test_where_every_engine_fails_nothing_is_segmented(
    small_package: Package, stack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [small_package(shift=0.2), stack, "-o", tmp_path / "seg.tif"]
    assert infer(*words) == 2
    err = capsys.readouterr().err
    assert "warning: cpu fp32 is not used: it does not segment" in err
    assert "no engine on this machine gives the segmentation of" in err.splitlines()[-1]
    assert [p.name for p in tmp_path.iterdir()] == ["stack.tif"]


@pytest.fixture
def unexamined(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no engine be examined."""
    from dmn_runtime import inference

    monkeypatch.setattr(inference, "choose", lambda *_: pytest.fail("engines were examined"))


@pytest.mark.usefixtures("unexamined")
def test_what_can_be_refused_is_refused_before_engines_are_examined(
    small_package: Package, stack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package, output = small_package(), tmp_path / "seg.tif"
    flat, plain, foreign = (tmp_path / name for name in ("flat.tif", "plain.tif", "foreign.tif"))
    tifffile.imwrite(flat, np.full((2, 40, 40), 7, np.uint8), photometric="minisblack")
    tifffile.imwrite(plain, tifffile.imread(stack), photometric="minisblack")
    foreign.write_text("of somebody else")
    (tmp_path / "begun.tif.partial").mkdir()
    for words, sentence in [
        ([stack, "-o", foreign], "exists already"),
        ([stack, "-o", foreign, "--overwrite", "--resume"], "choose one"),
        ([stack, "-o", tmp_path / "begun.tif"], "--resume"),
        ([stack, "-o", tmp_path / "nowhere" / "seg.tif"], "does not exist"),
        ([stack, "-o", output, "--threshold", 1.5], "between 0 and 1"),
        ([stack, "-o", output, "--workers", 0], "at least 1"),
        ([stack, "-o", output, "--tile", -4], "at least 1"),
        ([stack, "-o", output, "--block", "0,8,8"], "at least 1"),
        ([flat, "-o", output], "is constant"),
        ([tmp_path / "no.tif", "-o", output], "no.tif"),
    ]:
        assert sentence in refused(capsys, package, *words)
    assert "--voxel-nm" in refused(capsys, small_package(working_nm=10.0), plain, "-o", output)
    assert foreign.read_text() == "of somebody else"


def two_precisions(small_package: Package, tmp_path: Path) -> Path:
    """Return a package in which int8 passes, at another threshold."""
    return with_int8(small_package(), tmp_path / "two.zip", bias=0.5131)


@pytest.mark.usefixtures("own_cache")
def test_another_precision_than_the_finished_output_has_is_refused_by_name(
    small_package: Package, stack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [two_precisions(small_package, tmp_path), stack, "-o", tmp_path / "seg.tif"]
    assert infer(*words, "--precision", "int8", "--threshold", 0.5) == 0
    before = files(tmp_path)
    capsys.readouterr()
    said = refused(capsys, *words, "--precision", "fp32", "--threshold", 0.5, "--resume")
    assert "is finished, but with another precision: choose another output" in said
    assert infer(*words, "--threshold", 0.5, "--resume") == 0  # that of the report
    assert "is complete already" in capsys.readouterr().err
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("engine", "precision", "wanted"),
    [
        ("auto", "auto", ("openvino", "int8")),
        ("cpu", "auto", ("cpu", "int8")),
        ("auto", "fp32", ("openvino", "fp32")),
        ("cpu", "fp32", ("cpu", "fp32")),
    ],
)
def test_engine_and_precision_are_each_taken_from_the_ledger(
    tmp_path: Path, engine: str, precision: str, wanted: tuple[str, str]
) -> None:
    output = tmp_path / "seg.tif"
    begun = {ENGINE_KEY: {"engine": "openvino", "precision": "int8"}}
    Ledger.create(output, LedgerHeader("in", "package", {}, "1", begun)).close()
    found = as_begun(Wish(engine, precision, 2, 64, True), output)
    assert found == Wish(*wanted, 2, 64, True)


@pytest.mark.parametrize(
    ("named", "begun"),
    [
        ({"batch": 8, "edge_px": 64}, BatchShape(8, 64)),
        ({}, None),
        ({"batch": 8}, None),
        ({"batch": 8, "edge_px": "64"}, None),
        ({"batch": True, "edge_px": 64}, None),
        ({"batch": 0, "edge_px": 64}, None),
        ({"batch": 8, "edge_px": -64}, None),
    ],
    ids=str,
)
def test_what_went_through_a_gpu_at_once_is_taken_from_the_ledger(
    tmp_path: Path, named: dict[str, object], begun: BatchShape | None
) -> None:
    extra = {ENGINE_KEY: {"engine": "cuda", "precision": "fp16", **named}}
    Ledger.create(tmp_path / "seg.tif", LedgerHeader("in", "package", {}, "1", extra)).close()
    found = as_begun(Wish("auto", "auto", 2), tmp_path / "seg.tif")
    assert found == Wish("cuda", "fp16", 2, begun=begun)


@pytest.mark.parametrize(
    "extra",
    [3, None, [], "x", {}, {"ENGINE": 3}, {"ENGINE": {}}, {"ENGINE": {"engine": 3, "precision": ["x"]}}],
    ids=str,
)
def test_a_ledger_with_a_senseless_extra_leaves_the_wish(tmp_path: Path, extra: object) -> None:
    output = tmp_path / "seg.tif"
    Ledger.create(output, LedgerHeader("in", "package", {}, "1")).close()
    path = tmp_path / "seg.tif.ledger.jsonl"
    text = json.dumps(json.loads(path.read_text()) | {"extra": extra}).replace("ENGINE", ENGINE_KEY)
    path.write_text(text + "\n")
    assert as_begun(Wish("auto", "auto", 2), output) == Wish("auto", "auto", 2)


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")
@pytest.mark.parametrize("extra", [3, [], {"engine": 3}], ids=str)
def test_a_ledger_with_a_senseless_extra_is_one_sentence(
    small_package: Package, tmp_path: Path, capsys: pytest.CaptureFixture[str], extra: object
) -> None:
    package, stack, output = small_package(), tmp_path / "stack.tif", tmp_path / "seg.ome.zarr"
    write_stack(stack, (12, 256, 256), seed=2)
    process = start(package, stack, output)
    process.kill()
    process.communicate()
    path = output.with_name("seg.ome.zarr.ledger.jsonl")
    head, _, rest = path.read_text().partition("\n")
    path.write_text(json.dumps(json.loads(head) | {"extra": extra}) + "\n" + rest)
    refused(capsys, package, stack, "-o", output, "--block", "1,64,64", "--resume")


@pytest.mark.parametrize(
    ("report", "precision"),
    [
        ('{"precision": "int8"}', "int8"),
        ('{"precision": 8}', "auto"),
        ("{}", "auto"),
        ("[]", "auto"),
        ("3", "auto"),
        ("{", "auto"),
        (None, "auto"),
    ],
)
def test_the_precision_of_a_finished_output_is_that_of_its_report(
    tmp_path: Path, report: str | None, precision: str
) -> None:
    if report is not None:
        (tmp_path / "seg.report.json").write_text(report)
    assert as_begun(Wish("auto", "auto", 2), tmp_path / "seg.tif") == Wish("auto", precision, 2)
    assert as_begun(Wish("auto", "fp32", 2), tmp_path / "seg.tif") == Wish("auto", "fp32", 2)


def test_given_intensities_are_the_map(small_package: Package, stack: Path, tmp_path: Path) -> None:
    words = [small_package(), stack, "-o"]
    assert infer(*words, tmp_path / "sampled.tif") == 0
    report = json.loads((tmp_path / "sampled.report.json").read_text())
    low, high = report["normalisation"]["low"], report["normalisation"]["high"]
    assert infer(*words, tmp_path / "same.tif", "--intensity", f"{low},{high}") == 0
    assert infer(*words, tmp_path / "other.tif", "--intensity", f"{low},{high / 2}") == 0
    sampled, same, other = (
        tifffile.imread(tmp_path / f"{name}.probability.tif") for name in ("sampled", "same", "other")
    )
    np.testing.assert_array_equal(sampled, same)
    assert (sampled != other).any()
    given = json.loads((tmp_path / "other.report.json").read_text())["normalisation"]
    assert given == {
        "low": low,
        "high": high / 2,
        "clip": report["normalisation"]["clip"],
        "sampled_voxels": 0,
    }


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("9", "two numbers LOW,HIGH"),
        ("a,b", "two numbers LOW,HIGH"),
        ("9,9", "LOW < HIGH"),
        ("0,inf", "no range"),
        ("3000,60000", "lies outside the grey values of"),
        ("-9,0", "(0 to 255)"),
    ],
)
def test_an_intensity_that_is_no_range_is_refused(
    small_package: Package,
    stack: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: str,
    sentence: str,
) -> None:
    said = refused(capsys, small_package(), stack, "-o", tmp_path / "seg.tif", "--intensity", words)
    assert sentence in said
