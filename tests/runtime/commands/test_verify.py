"""`dmn verify`: what it prints, when it refuses, the owner's own volume, what it leaves for `dmn infer`."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import tifffile
from PIL import Image

from dmn_runtime.cli import main
from dmn_runtime.engines.choose import choose
from dmn_runtime.engines.examination import Wish
from dmn_runtime.package import open_package

Package = Callable[..., Path]
GOLDEN_TILES = 2


@pytest.fixture
def package(small_package: Package, cache: Path) -> Path:
    """Return a package that nothing is remembered of."""
    assert not cache.exists()
    return small_package()


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """Return a volume of the owner's, smaller than a tile in one direction, without a voxel size."""
    path = tmp_path / "own.tif"
    voxels = np.random.default_rng(5).integers(0, 256, (3, 20, 90)).astype(np.uint8)
    tifffile.imwrite(path, voxels, photometric="minisblack")
    return path


def verify(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    status = main(["verify", *map(str, words)])
    out, err = capsys.readouterr()
    return status, out, err


def rows(out: str) -> dict[str, str]:
    """Return the line of each engine in the last table, by its first two words."""
    return {" ".join(line.split()[:2]): line for line in out.splitlines() if line.startswith("  ")}


def late(fleet: ModuleType) -> Callable[[np.ndarray], np.ndarray]:
    """Return what is right on the package's golden tiles and wrong on whatever comes later."""
    calls = []

    def spoil(logits: np.ndarray) -> np.ndarray:
        calls.append(1)
        return logits if len(calls) <= GOLDEN_TILES else fleet.shifted(logits)

    return spoil


def test_engines_that_agree(
    package: Path, fleet: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet.install(
        monkeypatch,
        gpu=fleet.Model(absent="no NVIDIA driver answers on this machine"),
        quick=fleet.Model(speed=4e6),
        cpu=fleet.Model(),
    )
    status, out, err = verify(capsys, package, "--workers", 2)
    assert status == 0
    assert err.startswith("examining engines, once for this package on this machine: quick fp32, cpu fp32")
    lines = out.splitlines()
    assert lines[0] == "on the package's golden tiles, against the trained network:"
    assert lines[1].split("  ")[1:3] == ["engine", "precision"]
    assert lines[1].endswith("verdict")
    assert [word for word in lines[2].split() if word][:2] == ["quick", "fp32"]
    assert lines[2].endswith("4.00      passed")
    assert lines[3].endswith("1.00      passed")
    assert lines[-2:] == [
        "not here: gpu: no NVIDIA driver answers on this machine",
        "verdict: dmn infer runs quick fp32; every engine here gives the same segmentation",
    ]


def test_an_engine_that_fails(
    package: Path, fleet: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet.install(monkeypatch, wrong=fleet.Model(spoil=fleet.shifted), cpu=fleet.Model())
    status, out, _ = verify(capsys, package)
    assert status == 0
    assert "FAILED: it does not segment as the package's certificate says" in rows(out)["wrong fp32"]
    assert out.endswith("\nverdict: dmn infer runs cpu fp32; FAILED: wrong fp32\n")
    assert verify(capsys, package, "--strict") == (2, out, _)


def test_no_engine_passes(
    package: Path, fleet: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet.install(monkeypatch, cpu=fleet.Model(refuses="out of memory"))
    status, out, _ = verify(capsys, package)
    assert status == 2
    assert rows(out)["cpu fp32"].split()[2:] == [
        "-",
        "-",
        "0.0005",
        "-",
        "-",
        "FAILED:",
        "out",
        "of",
        "memory",
    ]
    assert out.endswith(
        f"\nverdict: no engine here gives the segmentation of {package}: do not use it on this machine\n"
    )


def test_json_is_one_object_and_nothing_else(
    package: Path, fleet: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet.install(
        monkeypatch,
        gpu=fleet.Model(absent="no driver"),
        wrong=fleet.Model(spoil=lambda logits: logits * np.float32(np.nan)),
        cpu=fleet.Model(),
    )
    status, out, _ = verify(capsys, package, "--json", "--strict")
    assert status == 2

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    document = json.loads(out, parse_constant=refuse)
    assert sorted(document) == ["absent", "golden", "runs", "stack"]
    assert document["runs"] == {"engine": "cpu", "precision": "fp32"}
    assert document["absent"] == {"gpu": "no driver"}
    assert document["stack"] == []
    wrong, cpu = document["golden"]
    assert (wrong["candidate"]["engine"], cpu["candidate"]["engine"]) == ("wrong", "cpu")
    assert wrong["parity"]["max_dp"] is None
    assert "max |dp| nan" in wrong["fault"]
    assert (cpu["fault"], cpu["parity"]["max_dp"] < 1e-4) == (None, True)


def test_what_is_remembered_is_examined_again_and_kept(
    package: Path, fleet: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = fleet.Model(speed=fleet.FAST)
    table = fleet.install(monkeypatch, gpu=model, cpu=fleet.Model())
    wish = Wish(workers=1)
    assert choose(open_package(package), wish, print).candidate.engine == "gpu"
    model.spoil = fleet.shifted  # what no fact of the machine tells
    assert verify(capsys, package, "--workers", 1, "--engine", "gpu")[0] == 2
    table.opened.clear()
    assert choose(open_package(package), wish, print).candidate.engine == "cpu"
    assert table.opened == []


def test_the_owners_volume_is_compared_with_the_cpu(
    package: Path,
    stack: Path,
    fleet: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = fleet.install(monkeypatch, quick=fleet.Model(speed=fleet.FAST), cpu=fleet.Model())
    status, out, _ = verify(capsys, package, stack)
    assert status == 0
    assert "\non your volume, against cpu fp32:\n" in out
    assert out.count("passed") == 4
    assert all(runner.closed == 1 for runner in table.runners)


def test_a_fault_on_the_owners_volume_is_remembered(
    package: Path,
    stack: Path,
    fleet: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    quick = fleet.Model(spoil=late(fleet), speed=fleet.FAST)
    table = fleet.install(monkeypatch, quick=quick, cpu=fleet.Model())
    status, out, _ = verify(capsys, package, stack, "--workers", 2)
    assert status == 0
    golden, own = out.split("\non your volume")
    assert "passed" in rows(golden)["quick fp32"]
    assert "FAILED" in rows(own)["quick fp32"]
    assert out.endswith("\nverdict: dmn infer runs cpu fp32; FAILED: quick fp32\n")
    table.opened.clear()
    said: list[str] = []
    choice = choose(open_package(package), Wish(workers=2), said.append)
    assert (choice.candidate.engine, table.opened) == ("cpu", [])
    [warning] = said
    assert warning.startswith("warning: quick fp32 is not used: on your volume it does not segment")


def test_a_fault_on_the_owners_volume_holds_until_the_volume_passes(
    package: Path,
    stack: Path,
    fleet: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    quick = fleet.Model(spoil=late(fleet), speed=fleet.FAST)
    fleet.install(monkeypatch, quick=quick, cpu=fleet.Model())
    assert verify(capsys, package, stack, "--workers", 2)[0] == 0
    quick.spoil = lambda logits: logits
    _, out, _ = verify(capsys, package, "--workers", 2)  # golden tiles alone
    assert "FAILED: on your volume it does not segment" in rows(out)["quick fp32"]
    assert out.endswith("\nverdict: dmn infer runs cpu fp32; FAILED: quick fp32\n")
    assert verify(capsys, package, "--workers", 2, "--strict")[0] == 2
    for wish in (Wish(workers=2), Wish(workers=1), Wish(workers=2, tile_px=64)):
        assert choose(open_package(package), wish, print).candidate.engine == "cpu"
    assert verify(capsys, package, stack, "--workers", 2)[1].endswith(
        "\nverdict: dmn infer runs quick fp32; every engine here gives the same segmentation\n"
    )
    for wish in (Wish(workers=2), Wish(workers=1), Wish(workers=2, tile_px=64)):
        assert choose(open_package(package), wish, print).candidate.engine == "quick"


def test_a_fault_on_the_golden_tiles_is_the_one_that_is_told(
    package: Path,
    stack: Path,
    fleet: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fleet.install(monkeypatch, wrong=fleet.Model(spoil=fleet.shifted), cpu=fleet.Model())
    assert verify(capsys, package, stack, "--workers", 2)[0] == 0
    said: list[str] = []
    choose(open_package(package), Wish(workers=2), said.append)
    assert said[0].startswith("warning: wrong fp32 is not used: it does not segment")


def test_strict_counts_a_fault_on_the_owners_volume(
    package: Path,
    stack: Path,
    fleet: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fleet.install(monkeypatch, quick=fleet.Model(spoil=late(fleet)), cpu=fleet.Model())
    status, out, _ = verify(capsys, package, stack, "--strict", "--json")
    assert status == 2
    document = json.loads(out)
    assert document["runs"] == {"engine": "cpu", "precision": "fp32"}
    assert [trial["fault"] is None for trial in document["golden"]] == [True, True]
    assert [trial["fault"] is None for trial in document["stack"]] == [False, True]
    assert {trial["parity"]["tiles"] for trial in document["stack"]} == {16}


def test_a_reference_that_fails_itself_is_no_reference(
    package: Path,
    stack: Path,
    fleet: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fleet.install(monkeypatch, quick=fleet.Model(), cpu=fleet.Model(spoil=fleet.shifted))
    status, out, err = verify(capsys, package, stack, "--engine", "quick")
    assert (status, out) == (2, "")
    assert err.splitlines()[-1].startswith(
        "dmn verify: cpu fp32, which the volume would be compared with, fails itself: it does not segment"
    )


def test_a_volume_without_a_voxel_size(
    small_package: Package,
    cache: Path,
    stack: Path,
    fleet: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    del cache
    fleet.install(monkeypatch, cpu=fleet.Model())
    package = small_package(working_nm=10.0)
    status, _, err = verify(capsys, package, stack)
    assert status == 2
    assert "give it with --voxel-nm Z,Y,X" in err
    assert verify(capsys, package, stack, "--voxel-nm", "50,5,5")[0] == 0
    assert verify(capsys, package, stack, "--voxel-nm", "50,5")[0] == 2


def test_pictures_of_the_worst_tile_of_what_fails(
    package: Path,
    tmp_path: Path,
    fleet: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = fleet.install(
        monkeypatch,
        wrong=fleet.Model(spoil=fleet.shifted),
        dead=fleet.Model(spoil=fleet.dying),
        cpu=fleet.Model(),
    )
    folder = tmp_path / "pictures" / "of tiles"
    status, _, err = verify(capsys, package, "--pictures", folder)
    assert status == 0
    [path] = folder.iterdir()  # what does not run has no picture
    assert path.name == "worst-wrong-fp32-golden.png"
    assert err.endswith(f"{path} shows the worst tile of wrong fp32\n")
    with Image.open(path) as image:
        assert image.size == (4 * 20 + 3 * 4, 20)
    assert all(runner.closed == 1 for runner in table.runners)


def test_pictures_of_what_fails_on_the_owners_volume_alone(
    package: Path,
    stack: Path,
    tmp_path: Path,
    fleet: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fleet.install(monkeypatch, quick=fleet.Model(spoil=late(fleet)), cpu=fleet.Model())
    assert verify(capsys, package, stack, "--pictures", tmp_path / "pictures")[0] == 0
    [path] = (tmp_path / "pictures").iterdir()
    assert path.name == "worst-quick-fp32-volume.png"


def test_a_folder_of_pictures_that_cannot_be_made(
    package: Path,
    tmp_path: Path,
    fleet: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fleet.install(monkeypatch, cpu=fleet.Model(spoil=fleet.shifted))
    (tmp_path / "taken").write_text("a file")
    status, _, err = verify(capsys, package, "--pictures", tmp_path / "taken")
    assert status == 2
    assert err.splitlines()[-1].startswith(f"dmn verify: the folder {tmp_path / 'taken'} cannot be made (")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--workers", 0), "--workers 0 cannot work: give at least 1"),
        (("--engine", "abacus"), "there is no engine 'abacus'"),
        (("--precision", "fp8"), "the package holds no precision 'fp8'"),
        (("nowhere.tif",), "nowhere.tif"),
        (
            ("--voxel-nm", "50,5,5"),
            "--voxel-nm 50,5,5 is for a volume of your own, and none is given: add its path, or leave it out",
        ),
    ],
)
def test_words_that_make_no_sense(
    package: Path,
    fleet: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[object, ...],
    said: str,
) -> None:
    fleet.install(monkeypatch, cpu=fleet.Model())
    status, out, err = verify(capsys, package, *words)
    assert (status, out) == (2, "")
    assert err.startswith("dmn verify: ")
    assert said in err
    assert err.count("\n") == 1


def test_the_real_cpu_engine_on_a_real_package(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = verify(capsys, package, "--engine", "cpu", "--workers", 1)
    assert status == 0
    # Nothing is said of engines that were not examined, nor of what dmn infer would take.
    assert out.endswith("\nverdict on what was asked for: passed: cpu fp32\n")


def test_answers_that_no_engine_gives(
    small_package: Package, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del cache
    status, out, _ = verify(capsys, small_package(shift=0.1), "--engine", "cpu")
    assert status == 2
    assert "max |dp| 0.1 (allowed 0.0001)" in out
