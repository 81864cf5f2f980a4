"""The table of engines that are told how to behave, borrowed from the tests of the engines."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def fleet() -> ModuleType:
    """Return the module of engines that are told how to behave."""
    title = "dmn_test_fleet"
    if title not in sys.modules:
        path = Path(__file__).parents[1] / "engines" / "fleet.py"
        spec = importlib.util.spec_from_file_location(title, path)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[title] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[title])
    return sys.modules[title]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty cache folder that is this test's alone."""
    monkeypatch.setenv("DMN_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"
