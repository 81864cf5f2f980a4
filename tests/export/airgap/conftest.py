"""Small wheels, a pip that only pretends, and facts of a made-up installation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shutil import copyfile
from zipfile import ZipFile

import pytest

from dmn_export.airgap.here import Here
from dmn_export.airgap.pip_runner import PipResult
from dmn_runtime.package import resolve_package

OWN = "dmn_em-0.1.0-py3-none-any.whl"
Metadata = Sequence[str]


def make_wheel(folder: Path, name: str, *metadata: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    stem = "-".join(name.split("-")[:2])
    lines = ["Metadata-Version: 2.4", *metadata, "", "Requires-Dist: prose, not a header"]
    with ZipFile(folder / name, "w") as archive:
        archive.writestr(f"{stem}.dist-info/METADATA", "\n".join(lines))
    return folder / name


@dataclass
class FakePip:
    """Writes the wheels that `brings` names for the first words of a call that match; records every call."""

    brings: dict[str, dict[str, Metadata]]
    fails_at: str = "nothing"
    output: str = "ERROR: No matching distribution found for onnxruntime\n[notice] a new pip is out"
    calls: list[str] = field(default_factory=list)

    def __call__(self, words: Sequence[str], folder: Path) -> PipResult:
        call = " ".join(words)
        self.calls.append(call)
        if self.fails_at in call:
            return PipResult(1, self.output)
        option = "--dest" if words[0] == "download" else "--wheel-dir"
        place = folder / words[words.index(option) + 1]
        for part, wheels in self.brings.items():
            if part in call:
                for name, metadata in wheels.items():
                    make_wheel(place, name, *metadata)
        return PipResult(0, "")


@pytest.fixture
def wheel() -> Callable[..., Path]:
    return make_wheel


@pytest.fixture
def here() -> Here:
    return Here("0.1.0", Path("/src/dmn"), "3.11", (("onnxruntime", "1.31.1"), ("openvino", "2026.4.1")))


@pytest.fixture
def gpu_here() -> Here:
    return Here("0.1.0", None, "3.12", (("onnxruntime", "1.31.1"), ("tensorrt-rtx-cu13", "1.7.1.116")))


@pytest.fixture
def pip() -> FakePip:
    """Return a pip that knows DMN and two engines, one of which needs another wheel on Windows."""
    own = (
        "Provides-Extra: openvino",
        "Requires-Dist: onnxruntime>=1.22",
        'Requires-Dist: openvino>=2025; extra == "openvino"',
    )
    onnxruntime = ('Requires-Dist: colorama; sys_platform == "win32"',)
    return FakePip(
        {
            "wheel --no-deps --wheel-dir .build /src/dmn": {OWN: own},
            "--platform manylinux_2_28_x86_64": {
                OWN: own,
                "onnxruntime-1.31.1-cp311-cp311-manylinux_2_28_x86_64.whl": onnxruntime,
                "openvino-2026.4.1-cp311-cp311-manylinux_2_28_x86_64.whl": (),
            },
            "--platform win_amd64": {
                OWN: own,
                "onnxruntime-1.31.1-cp311-cp311-win_amd64.whl": onnxruntime,
                "openvino-2026.4.1-cp311-cp311-win_amd64.whl": (),
            },
            "--find-links wheels/windows colorama": {
                "colorama-0.4.6-py2.py3-none-any.whl": ("License: BSD",)
            },
        }
    )


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return Path(copyfile(resolve_package("demo"), tmp_path / "mito.zip"))
