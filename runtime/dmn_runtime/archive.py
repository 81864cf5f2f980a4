"""Write a package's archive: one zip, whole or not at all, the same bytes for the same content."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from dmn_runtime.contract import CONTRACT_MEMBER, Contract
from dmn_runtime.contract_json import to_json
from dmn_runtime.errors import OutputError
from dmn_runtime.package import Package, open_package

_EARLIEST_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
_UNIX = 3
_PLAIN_FILE = 0o100644 << 16


def check_output(path: Path, overwrite: bool) -> None:
    """Refuse a path that a package cannot be written to, before any work is done.

    Raises:
        OutputError: not a .zip, exists already, or its folder does not.
    """
    if path.suffix != ".zip":
        raise OutputError(f"{path} does not end in .zip, which a package must: name it {path.name}.zip")
    if path.is_dir() or (path.exists() and not overwrite):
        raise OutputError(
            f"{path} exists already: name another file, or pass --overwrite to replace a package"
        )
    if not path.parent.is_dir():
        raise OutputError(f"the folder {path.parent} does not exist: make it first")


def write_archive(
    path: Path,
    contract: Contract,
    members: Mapping[str, bytes],
    check: Callable[[Path], object] = lambda _: None,
) -> Package:
    """Write `members` and dmn.json as a zip beside `path`, check it as every reader will, then move it there.

    Args:
        path: where the package will stand; an existing file is replaced.
        contract: its own `members` are ignored, they are made from the bytes.
        members: name -> bytes of everything but dmn.json.
        check: one more examination of the finished file; raises to refuse it.

    Raises:
        PackageError: the result breaks the contract.
        OutputError: it cannot be written.
    """
    hashes = {name: hashlib.sha256(members[name]).hexdigest() for name in sorted(members)}
    document = to_json(replace(contract, members=hashes))
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    partial = path.with_name(f"{path.name}.partial")
    try:
        _write_zip(partial, {**members, CONTRACT_MEMBER: text.encode("utf-8")})
        package = open_package(partial)
        check(partial)
        partial.replace(path)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written ({error.strerror}): check the disk and the rights"
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return replace(package, path=path)


def _write_zip(path: Path, members: Mapping[str, bytes]) -> None:
    with ZipFile(path, "w") as archive:
        for name in sorted(members):
            info = ZipInfo(name, _EARLIEST_ZIP_TIME)
            info.create_system, info.external_attr = _UNIX, _PLAIN_FILE
            archive.writestr(info, members[name], ZIP_DEFLATED, compresslevel=6)
