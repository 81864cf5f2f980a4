"""Whether wheels are enough for a PC, by that PC's markers."""

from collections.abc import Callable
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from dmn_export.airgap.closure import missing
from dmn_export.airgap.target import Target
from dmn_export.airgap.wheel_file import read_wheels

LINUX, WINDOWS = Target("linux", "3.11"), Target("windows", "3.11")
ROOT = [Requirement("app")]


@pytest.fixture
def lacking(tmp_path: Path, wheel: Callable[..., Path]) -> Callable[..., tuple[str, ...]]:
    def ask(target: Target, wheels: dict[str, list[str]], root: str = "app") -> tuple[str, ...]:
        for name, requirements in wheels.items():
            wheel(tmp_path, name, *(f"Requires-Dist: {text}" for text in requirements))
        return missing(target, read_wheels(tmp_path), [Requirement(root)])

    return ask


def test_a_whole_set_lacks_nothing(lacking: Callable[..., tuple[str, ...]]) -> None:
    wheels = {"app-1.0-py3-none-any.whl": ["Lib_One>=1"], "lib_one-1.2-cp311-cp311-win_amd64.whl": ["app"]}
    assert lacking(WINDOWS, wheels) == ()


def test_what_only_the_other_system_needs_is_lacking_there_alone(
    lacking: Callable[..., tuple[str, ...]],
) -> None:
    wheels = {"app-1.0-py3-none-any.whl": ['colorama>=0.4; platform_system == "Windows"']}
    assert lacking(LINUX, wheels) == ()
    assert lacking(WINDOWS, wheels) == ("colorama>=0.4",)


def test_what_only_another_python_needs_is_lacking_there_alone(
    lacking: Callable[..., tuple[str, ...]],
) -> None:
    wheels = {"app-1.0-py3-none-any.whl": ['backport; python_version < "3.12"']}
    assert lacking(Target("linux", "3.12"), wheels) == ()
    assert lacking(LINUX, wheels) == ("backport",)


def test_what_only_an_early_patch_release_needs_is_lacking(lacking: Callable[..., tuple[str, ...]]) -> None:
    assert lacking(LINUX, {"app-1.0-py3-none-any.whl": ['early; python_full_version < "3.11.3"']}) == (
        "early",
    )
    assert lacking(LINUX, {"app-1.0-py3-none-any.whl": ['late; python_full_version >= "3.11.3"']}) == (
        "late",
    )


@pytest.mark.parametrize(
    "name",
    [
        "lib-1.0-cp312-cp312-win_amd64.whl",
        "lib-1.0-cp311-cp311-manylinux_2_28_x86_64.whl",
        "lib-0.9-py3-none-any.whl",
    ],
)
def test_a_wheel_that_does_not_fit_is_none(lacking: Callable[..., tuple[str, ...]], name: str) -> None:
    assert lacking(WINDOWS, {"app-1.0-py3-none-any.whl": ["lib>=1"], name: []}) == ("lib>=1",)


def test_a_wheel_for_a_newer_python_is_none(tmp_path: Path, wheel: Callable[..., Path]) -> None:
    wheel(tmp_path, "app-1.0-py3-none-any.whl", "Requires-Python: >=3.12")
    assert missing(LINUX, read_wheels(tmp_path), ROOT) == ("app",)
    assert missing(Target("linux", "3.12"), read_wheels(tmp_path), ROOT) == ()


def test_extras_are_followed_where_they_are_asked_for(lacking: Callable[..., tuple[str, ...]]) -> None:
    wheels = {
        "app-1.0-py3-none-any.whl": ['lib[fast]; extra == "gpu-all"', 'doc; extra == "doc"'],
        "lib-1.0-py3-none-any.whl": ['jit; extra == "fast"', 'slow; extra == "slow"'],
    }
    assert lacking(LINUX, wheels) == ()
    assert lacking(LINUX, wheels, "app[gpu_all]") == ("jit",)


def test_what_is_lacking_keeps_its_extras(lacking: Callable[..., tuple[str, ...]]) -> None:
    wheels = {"app-1.0-py3-none-any.whl": ['Lib[b,a]>=2; sys_platform == "linux"']}
    assert lacking(LINUX, wheels) == ("lib[a,b]>=2",)


def test_every_version_that_may_be_chosen_is_followed(lacking: Callable[..., tuple[str, ...]]) -> None:
    wheels = {"app-1.0-py3-none-any.whl": ["old"], "app-2.0-py3-none-any.whl": ["new"]}
    assert lacking(LINUX, wheels) == ("new", "old")
