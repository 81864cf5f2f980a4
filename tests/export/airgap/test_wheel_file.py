"""A wheel's own words."""

from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import pytest

from dmn_export.airgap.wheel_file import read_wheel, read_wheels
from dmn_runtime.errors import OutputError


def test_a_wheel_is_read(tmp_path: Path, wheel: Callable[..., Path]) -> None:
    path = wheel(
        tmp_path,
        "Scikit_Image-0.26.0-cp311-cp311-win_amd64.whl",
        "Requires-Python: >=3.11",
        "Requires-Dist: numpy>=2",
        "Requires-Dist: dask; extra == 'data'",
        "Provides-Extra: Data_Sets",
    )
    found = read_wheel(path)
    assert (found.name, str(found.version), str(found.python)) == ("scikit-image", "0.26.0", ">=3.11")
    assert [requirement.name for requirement in found.requirements] == ["numpy", "dask"]
    assert found.extras == {"data-sets"}
    assert [str(tag) for tag in found.tags] == ["cp311-cp311-win_amd64"]
    assert not found.proprietary


@pytest.mark.parametrize(
    "line",
    [
        "License: Proprietary",
        "License-Expression: LicenseRef-NVIDIA-Proprietary",
        "Classifier: License :: Other/Proprietary License",
    ],
)
def test_a_proprietary_licence_is_seen(tmp_path: Path, wheel: Callable[..., Path], line: str) -> None:
    assert read_wheel(wheel(tmp_path, "libs-1.0-py3-none-any.whl", line)).proprietary


@pytest.mark.parametrize(
    "line",
    [
        "License: MIT",
        "Classifier: Environment :: GPU :: NVIDIA CUDA",
        "Summary: proprietary formats",
        f"License: Apache-2.0 {'x' * 200} not proprietary",
    ],
)
def test_a_free_licence_is_not_mistaken(tmp_path: Path, wheel: Callable[..., Path], line: str) -> None:
    assert not read_wheel(wheel(tmp_path, "libs-1.0-py3-none-any.whl", line)).proprietary


def test_a_folder_is_read_by_name(tmp_path: Path, wheel: Callable[..., Path]) -> None:
    for name in ("b-1.0-py3-none-any.whl", "a-1.0-py3-none-any.whl"):
        wheel(tmp_path, name)
    assert [found.name for found in read_wheels(tmp_path)] == ["a", "b"]


@pytest.mark.parametrize("name", ["a-1.0-py3-none-any.whl", "a.whl"])
def test_what_is_no_wheel_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"an interrupted download")
    with pytest.raises(OutputError, match="is no whole wheel"):
        read_wheel(tmp_path / name)


def test_a_wheel_without_metadata_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a-1.0-py3-none-any.whl"
    with ZipFile(path, "w") as archive:
        archive.writestr("a/vendored/b.dist-info/METADATA", "Name: b")
    with pytest.raises(OutputError, match="it has no METADATA"):
        read_wheel(path)
