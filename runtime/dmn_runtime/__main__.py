"""`python -m dmn_runtime` is `dmn`."""

from dmn_runtime.cli import entry

entry()
