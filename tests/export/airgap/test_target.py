"""A PC as pip's tags and as markers name it."""

import pytest
from packaging.markers import Marker
from packaging.tags import Tag

from dmn_export.airgap.target import PLATFORM_TAGS, Target, check_target
from dmn_runtime.errors import UsageError


def test_a_linux_pc_takes_its_own_wheels_and_pure_ones() -> None:
    tags = Target("linux", "3.11").tags()
    for tag in (
        Tag("cp311", "cp311", "manylinux_2_28_x86_64"),
        Tag("cp311", "none", "manylinux2014_x86_64"),
        Tag("cp310", "abi3", "manylinux_2_17_x86_64"),
        Tag("py3", "none", "any"),
        Tag("py3", "none", "manylinux_2_28_x86_64"),
    ):
        assert tag in tags


@pytest.mark.parametrize(
    "tag",
    [
        Tag("cp312", "cp312", "manylinux_2_28_x86_64"),
        Tag("cp312", "abi3", "manylinux_2_28_x86_64"),
        Tag("cp311", "cp311", "manylinux_2_34_x86_64"),
        Tag("cp311", "cp311", "manylinux_2_28_aarch64"),
        Tag("cp311", "cp311", "win_amd64"),
        Tag("cp311", "cp311", "musllinux_1_2_x86_64"),
    ],
)
def test_it_takes_no_other_wheels(tag: Tag) -> None:
    assert tag not in Target("linux", "3.11").tags()


@pytest.mark.parametrize(
    ("marker", "linux", "windows"),
    [
        ('sys_platform == "win32"', [False, False], [True, True]),
        ('os_name == "posix"', [True, True], [False, False]),
        ('platform_system == "Windows" and platform_machine == "AMD64"', [False, False], [True, True]),
        ('platform_machine == "x86_64"', [True, True], [False, False]),
        ('python_version < "3.12"', [True, True], [True, True]),
        ('python_full_version < "3.11.3"', [True, False], [True, False]),
        ('implementation_name == "cpython"', [True, True], [True, True]),
    ],
)
def test_markers_are_read_for_the_pc(marker: str, linux: list[bool], windows: list[bool]) -> None:
    for platform, expected in (("linux", linux), ("windows", windows)):
        environments = Target(platform, "3.11").environments()
        assert [Marker(marker).evaluate(environment) for environment in environments] == expected


def test_words_of_users_are_checked() -> None:
    assert check_target("windows", "3.13") == Target("windows", "3.13")
    assert set(PLATFORM_TAGS) == {"linux", "windows"}


@pytest.mark.parametrize("platform", ["macos", "Linux", ""])
def test_another_platform_is_refused(platform: str) -> None:
    with pytest.raises(UsageError, match="is no platform of DMN: ask for linux or windows"):
        check_target(platform, "3.11")


@pytest.mark.parametrize("python", ["3.10", "3.9", "2.7", "3", "3.11.4", "cp311", "", "3.011", "4.11"])
def test_another_python_is_refused(python: str) -> None:
    with pytest.raises(UsageError, match="is no Python that DMN runs on"):
        check_target("linux", python)
