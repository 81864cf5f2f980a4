"""Modules of the tests and benchmarks, which are no packages, imported by their files."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def imported(path: Path) -> ModuleType:
    """Import a file once; whoever asks for it again, in whatever test, has the same module."""
    title = f"dmn_test_{path.stem}"
    if title not in sys.modules:
        spec = importlib.util.spec_from_file_location(title, path)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[title] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[title])
    return sys.modules[title]
