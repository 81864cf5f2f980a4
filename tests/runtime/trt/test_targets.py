"""Words of `--for` to GPU families and a platform."""

import pytest

from dmn_runtime.errors import EngineError
from dmn_runtime.trt.targets import (
    FAMILIES,
    LINUX,
    WINDOWS,
    Targets,
    family_of,
    may_run,
    parse_targets,
    this_platform,
)


@pytest.fixture
def on_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")


@pytest.mark.parametrize(
    ("words", "targets"),
    [
        ("rtx30", Targets(("SM86",), LINUX)),
        ("rtx30,rtx40,windows", Targets(("SM86", "SM89"), WINDOWS)),
        (" RTX50 , rtx20,linux", Targets(("SM75", "SM120"), LINUX)),
        ("windows", Targets((), WINDOWS)),
        ("a100,a100", Targets(("SM80",), LINUX)),
    ],
)
@pytest.mark.usefixtures("on_linux")
def test_words(words: str, targets: Targets) -> None:
    assert parse_targets(words) == targets


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("rtx60", "'rtx60' is no target: --for takes rtx20, a100, rtx30, rtx40, rtx50, linux, windows"),
        ("rtx30,", "'' is no target"),
        ("linux,rtx30,windows", "name linux or windows, not both"),
    ],
)
def test_words_that_are_no_target(words: str, said: str) -> None:
    with pytest.raises(EngineError, match=said):
        parse_targets(words)


@pytest.mark.parametrize(
    ("system", "machine", "platform"),
    [("linux", "x86_64", LINUX), ("win32", "AMD64", WINDOWS)],
)
def test_this_platform(monkeypatch: pytest.MonkeyPatch, system: str, machine: str, platform: str) -> None:
    monkeypatch.setattr("sys.platform", system)
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert this_platform() == platform


@pytest.mark.parametrize(("system", "machine"), [("darwin", "arm64"), ("linux", "aarch64")])
def test_a_platform_without_tensorrt(monkeypatch: pytest.MonkeyPatch, system: str, machine: str) -> None:
    monkeypatch.setattr("sys.platform", system)
    monkeypatch.setattr("platform.machine", lambda: machine)
    with pytest.raises(EngineError, match=f"this is {system} on {machine}"):
        this_platform()


def test_the_family_of_a_gpu() -> None:
    found = family_of("8.6")
    assert found is not None
    assert (found.word, found.capability, found.title) == ("rtx30", "SM86", "RTX 30 (Ampere)")
    assert family_of("9.0") is None
    assert [family.capability for family in FAMILIES] == ["SM75", "SM80", "SM86", "SM89", "SM120"]


@pytest.mark.parametrize(
    ("library", "targets", "gpu", "may"),
    [
        ("tensorrt_rtx", ("SM86", "SM89"), "8.9", True),
        ("tensorrt_rtx", ("SM86", "SM89"), "12.0", False),
        ("tensorrt_rtx", ("SM86",), "8.0", False),
        ("tensorrt", ("SM86",), "8.6", True),
        ("tensorrt", ("SM86",), "8.9", False),
        ("tensorrt", ("SM86", "SM89"), "9.0", True),  # hardware compatible from Ampere on
        ("tensorrt", ("SM86", "SM89"), "7.5", False),
    ],
)
def test_where_a_plan_may_run(library: str, targets: tuple[str, ...], gpu: str, may: bool) -> None:
    assert may_run(library, targets, gpu) is may
