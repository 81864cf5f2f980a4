"""`dmn build`: its words, what it prints, and what it refuses in one sentence."""

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dmn_runtime import extras
from dmn_runtime.cli import main
from dmn_runtime.engines import tensorrt
from dmn_runtime.package import open_package
from dmn_runtime.trt import package_build
from dmn_runtime.trt.package_build import Request

Package = Callable[..., Path]
ONLY_FOR = "-o, --batch and --dynamic are for engines for other GPUs: say which with --for"


@pytest.fixture(autouse=True)
def findable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a child find the package by the way by which this process found it; no GPU is here."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    monkeypatch.setattr(tensorrt, "visible_gpus", lambda: ())


def build(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    status = main(["build", *map(str, words)])
    out, err = capsys.readouterr()
    return status, out, err


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """Run, and return the one sentence of the refusal."""
    status, out, err = build(capsys, *words)
    assert (status, out) == (2, "")
    assert err.startswith("dmn build: ")
    assert err.count("\n") == 1, err
    return err


def test_a_package_for_other_gpus(
    small_package: Package, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip(
        "tensorrt_rtx", reason="tensorrt-rtx-cu13 is not installed: pip install it to build plans"
    )
    output = tmp_path / "with.zip"
    words = ("--for", "rtx40,linux", "-o", output, "--tile", 32, "--batch", 1)
    status, out, err = build(capsys, small_package(), *words)
    assert (status, err) == (0, "building tensorrt_rtx fp32 for SM89 on linux_x86_64\n")
    first, second = out.splitlines()
    assert first.startswith("tensorrt_rtx fp32 for SM89 on linux_x86_64: 0.")
    assert second.startswith(f"{output}: 0.")
    [plan] = open_package(output).contract.plans
    assert (plan.targets, plan.platform, plan.most) == (("SM89",), "linux_x86_64", (1, 1, 44, 44))
    assert "exists already" in refused(capsys, small_package(), *words)


def test_every_option_reaches_the_build(
    small_package: Package,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: list[tuple[object, ...]] = []

    def here(request: Request, say: object) -> list[str]:
        assert callable(say)
        asked.append((request,))
        return ["one line", "another"]

    def others(request: Request, targets: str, output: Path, say: object, *, overwrite: bool) -> list[str]:
        assert callable(say)
        asked.append((request, targets, output, overwrite))
        return []

    monkeypatch.setattr(package_build, "build_here", here)
    monkeypatch.setattr(package_build, "build_for_others", others)
    package = small_package()
    plain = Request(open_package(package), "tensorrt")
    assert build(capsys, package, "--engine", "tensorrt") == (0, "one line\nanother\n", "")
    more = ("--precision", "fp16,fp32", "--tile", 512)
    assert build(capsys, package, "--engine", "tensorrt", *more)[0] == 0
    full = replace(plain, precisions=("fp16", "fp32"), tile_px=512)
    target = ("--for", "rtx30", "-o", tmp_path / "a.zip")
    assert build(capsys, package, "--engine", "tensorrt", *target, "--overwrite")[0] == 0
    assert build(capsys, package, "--engine", "tensorrt", *target, *more, "--batch", 4, "--dynamic")[0] == 0
    assert asked == [
        (plain,),
        (full,),
        (plain, "rtx30", tmp_path / "a.zip", True),
        (replace(full, batch=4, dynamic=True), "rtx30", tmp_path / "a.zip", False),
    ]


@pytest.mark.parametrize(
    "installed", [("tensorrt_rtx", "tensorrt"), ("tensorrt",), ("tensorrt_rtx",)], ids="-".join
)
def test_every_library_that_is_installed_builds(
    small_package: Package,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    installed: tuple[str, ...],
) -> None:
    monkeypatch.setattr(extras, "is_present", lambda name: name in installed)
    monkeypatch.setattr(package_build, "build_here", lambda request, _: [request.engine])
    assert build(capsys, small_package()) == (0, "".join(f"{word}\n" for word in installed), "")
    monkeypatch.setattr(package_build, "build_for_others", lambda request, *_, overwrite: [request.engine])
    assert build(capsys, small_package(), "--for", "rtx30", "-o", "a.zip") == (0, f"{installed[0]}\n", "")


def test_without_tensorrt_the_sentence_is_the_command(
    small_package: Package, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(extras, "is_present", lambda _: False)
    said = refused(capsys, small_package())
    assert "no TensorRT is installed: pip install 'dmn-em[tensorrt-rtx,gpu]' for RTX cards" in said
    assert "pip install 'dmn-em[tensorrt]'" in refused(capsys, small_package(), "--engine", "tensorrt")


def test_without_a_gpu_the_way_on_is_said(small_package: Package, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip(
        "tensorrt_rtx", reason="tensorrt-rtx-cu13 is not installed: pip install it to build plans"
    )
    assert refused(capsys, small_package()) == (
        "dmn build: no NVIDIA driver answers on this machine: dmn build takes other GPUs with --for, "
        "dmn infer runs on the processor with --engine auto\n"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-o", "a.zip"), ONLY_FOR),
        (("--batch", 4), ONLY_FOR),
        (("--dynamic",), ONLY_FOR),
        (("--for", "rtx30"), "--for builds into a copy of the package: name it with -o NAME.zip"),
        (("--for", "rtx30", "-o", "a.plan"), "a.plan does not end in .zip"),
        (("--for", "windows", "-o", "a.zip"), "--for windows names no GPU"),
        (("--for", "voodoo2", "-o", "a.zip"), "'voodoo2' is no target"),
        (("--engine", "cpu"), "dmn build has no engine 'cpu': --engine takes auto, tensorrt_rtx, tensorrt"),
        (("--precision", "int8"), "cannot build 'int8' of"),
        (("--precision", ""), "cannot build '' of"),
        (("--tile", 0), "--tile 0 makes no engine: give at least 1"),
        (("--batch", -1), "--batch -1 makes no engine: give at least 1"),
    ],
)
def test_words_that_make_no_sense(
    small_package: Package,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[object, ...],
    said: str,
) -> None:
    monkeypatch.setattr(extras, "is_present", lambda _: True)
    assert said in refused(capsys, small_package(), *words)


def test_a_package_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert "nowhere.zip does not exist" in refused(capsys, "nowhere.zip")
