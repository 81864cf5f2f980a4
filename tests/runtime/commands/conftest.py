"""The table of engines that are told how to behave, borrowed from the tests of the engines."""

from pathlib import Path
from types import ModuleType

import pytest

from by_file import imported


@pytest.fixture(scope="session")
def fleet() -> ModuleType:
    """Return the module of engines that are told how to behave."""
    return imported(Path(__file__).parents[1] / "engines" / "fleet.py")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty cache folder that is this test's alone."""
    monkeypatch.setenv("DMN_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"
