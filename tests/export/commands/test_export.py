"""The words of `dmn export --air-gapped`: what belongs to it, what a dry run says, what is printed."""

from pathlib import Path
from typing import Any

import pytest

from dmn_export.airgap import from_run
from dmn_export.airgap import here as here_module
from dmn_export.airgap.here import Here
from dmn_export.airgap.plan import AirGapWishes
from dmn_export.pipeline import Exported, Wishes
from dmn_runtime.cli import main
from dmn_runtime.package import open_package, resolve_package

HERE = Here("0.1.0", Path("/src/dmn"), "3.12", (("onnxruntime", "1.31.1"), ("openvino", "2026.4.1")))
Asked = list[tuple[Path, Wishes, AirGapWishes]]


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(here_module, "look_here", lambda: HERE)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Let an export give the demo package; return what was asked for."""
    wishes: Asked = []

    def exported(run: Any, folder: Path, of: Wishes, air_gap: AirGapWishes, say: Any) -> Exported:
        wishes.append((folder, of, air_gap))
        return Exported(open_package(resolve_package("demo")), ("fp16 by cpu does not run",))

    monkeypatch.setattr(from_run, "export_air_gapped", exported)
    return wishes


@pytest.mark.parametrize(
    "words",
    [
        ["--for", "rtx40"],
        ["--platform", "windows"],
        ["--python", "3.11"],
        ["--own-wheel", "dmn.whl"],
        ["--with", "hdf5"],
        ["--dry-run"],
    ],
)
def test_options_of_an_air_gapped_folder_are_refused_without_it(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert main(["export", str(run_folder), "-o", str(tmp_path / "tiny.zip"), *words]) == 2
    assert capsys.readouterr().err == (
        "dmn export: --for, --platform, --python, --with, --own-wheel and --dry-run belong to --air-gapped: "
        "add it\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_says_what_would_be_done_and_does_nothing(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], asked: Asked
) -> None:
    folder = tmp_path / "pc"
    words = ["--air-gapped", "--dry-run", "--platform", "windows"]
    assert main(["export", str(run_folder), "-o", str(folder), *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["would run:", "  pip wheel --no-deps --wheel-dir .build /src/dmn"]
    assert "--platform win_amd64 --python-version 3.12" in lines[2]
    assert lines[3:] == [
        f"would write {folder}:",
        *("  pc.zip", "  wheels/windows/*.whl", "  install.bat", "  README.md", "  SHA256SUMS"),
    ]
    assert asked == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--for", "rtx99"],
            "'rtx99' is no target: --for takes rtx20, a100, rtx30, rtx40, rtx50, ",
        ),
        (["--for", "linux"], "--for linux names the system linux, wanted GPUs alone: "),
        (["--with", "hdf"], "--with hdf names 'hdf', wanted codecs, hdf5, mrc or objects, "),
        (["--platform", "macos"], "'macos' is no platform of DMN: ask for linux or windows"),
    ],
)
def test_a_dry_run_refuses_what_an_export_would(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    folder = str(tmp_path / "pc")
    assert main(["export", str(run_folder), "-o", folder, "--air-gapped", "--dry-run", *words]) == 2
    assert capsys.readouterr().err.startswith(f"dmn export: {said}")


def test_wishes_reach_the_folder_and_its_package_is_summed_up(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], asked: Asked
) -> None:
    folder = tmp_path / "pc"
    words = ["--for", "rtx30,rtx40", "--python", "3.11,3.12", "--own-wheel", "dmn_em-1-py3-none-any.whl"]
    words += ["--with", "hdf5,mrc"]
    package = ["--precision", "fp32,fp16", "--overwrite"]
    assert main(["export", str(run_folder), "-o", str(folder), "--air-gapped", *words, *package]) == 0
    ((place, wishes, air_gap),) = asked
    assert place == folder
    assert (wishes.precisions, wishes.overwrite) == (("fp32", "fp16"), True)
    assert air_gap == AirGapWishes(
        here=HERE,
        platforms=("linux", "windows"),
        pythons=("3.11", "3.12"),
        gpu_families=("rtx30", "rtx40"),
        more_extras=("hdf5", "mrc"),
        own_wheel=Path("dmn_em-1-py3-none-any.whl"),
        overwrite=True,
    )
    lines = capsys.readouterr().out.splitlines()
    assert "  left out: fp16 by cpu does not run" in lines
    assert lines[-1] == f"{folder}: bring it to the PC whole and follow its README.md"
