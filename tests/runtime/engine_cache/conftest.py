"""A key, a label, and a builder that counts: engines without a library."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dmn_runtime.engine_cache.key import EngineKey
from dmn_runtime.engine_cache.record import Label
from dmn_runtime.engine_cache.store import obtain
from dmn_runtime.errors import EngineError

LABEL = Label("mito-s16", "b" * 64)
KEY = EngineKey(
    onnx_sha256="a" * 64,
    library="tensorrt_rtx",
    library_version="1.7.1.116",
    device="NVIDIA RTX A4000, 8.6",
    driver="581.15",
    precision="fp16",
    profile={"edge_px": 1152, "batch": [1, 4, 8]},
    targets=(),
    platform="linux_x86_64",
    recipe=1,
)


@dataclass
class Workshop:
    """Builds `plan`, counts, and remembers what `check` was shown; refuses what is in `refused`."""

    folder: Path
    plan: bytes = b"plan of the first build" * 40
    builds: int = 0
    checked: list[bytes] = field(default_factory=list)
    refused: set[bytes] = field(default_factory=set)

    def build(self, path):
        self.builds += 1
        path.write_bytes(self.plan)

    def check(self, plan):
        self.checked.append(plan)
        if plan in self.refused:
            raise EngineError("the library returned no engine")

    def obtain(self, key=KEY, **more):
        return obtain(
            key,
            LABEL,
            more.pop("build", self.build),
            more.pop("check", self.check),
            folder=self.folder,
            **more,
        )

    def entry(self, key=KEY):
        return self.folder / "engines" / key.digest

    def names(self):
        """Return what lies in the folder of the engines."""
        return sorted(path.name for path in (self.folder / "engines").iterdir())


@pytest.fixture
def workshop(tmp_path):
    return Workshop(tmp_path / "cache")
