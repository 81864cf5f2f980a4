"""The table of engines that are told how to behave, and a cache folder of each test's own."""

from pathlib import Path
from types import ModuleType

import pytest

from by_file import imported


def _module(name: str) -> ModuleType:
    """Import a helper beside this file."""
    return imported(Path(__file__).with_name(f"{name}.py"))


@pytest.fixture(scope="session")
def fleet() -> ModuleType:
    """Return the module of engines that are told how to behave."""
    return _module("fleet")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty cache folder that is this test's alone."""
    monkeypatch.setenv("DMN_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def quantised() -> ModuleType:
    """Return the module of a network and its 8-bit forms."""
    return _module("quantised")
