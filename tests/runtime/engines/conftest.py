"""The table of engines that are told how to behave, and a cache folder of each test's own."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


def _module(name: str) -> ModuleType:
    """Import a helper beside this file, once; tests are no package."""
    title = f"dmn_test_{name}"
    if title not in sys.modules:
        spec = importlib.util.spec_from_file_location(title, Path(__file__).parent / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[title] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[title])
    return sys.modules[title]


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
