"""Write an exported package: an archive that bioimage.io accepts, too (docs/package.md)."""

from collections.abc import Mapping
from pathlib import Path

from dmn_export.bioimageio_model import check_archive
from dmn_runtime.archive import write_archive
from dmn_runtime.contract import Contract
from dmn_runtime.package import Package


def write_package(path: Path, contract: Contract, members: Mapping[str, bytes]) -> Package:
    """Write a package; see `write_archive`.

    Raises:
        PackageError: the result breaks the contract, or bioimage.io's.
        OutputError: it cannot be written.
    """
    return write_archive(path, contract, members, check_archive)
