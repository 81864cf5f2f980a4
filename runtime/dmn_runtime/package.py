"""Read a package: one zip, checked whole before anything of it is used (docs/package.md is the page of law).

Nothing is ever extracted to disk: members are read into memory, up to the size that the archive declares.
"""

import hashlib
import os
import stat
import struct
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import BinaryIO
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo
from zlib import error as ZlibError  # noqa: N812 - a lower-case name would hide what it is

from dmn_runtime.contract import CONTRACT_MEMBER, Contract
from dmn_runtime.contract_json import REFERENCE_PRECISION, from_json, parse_strict
from dmn_runtime.errors import (
    MissingMember,
    NotAPackage,
    OversizedMember,
    PackageError,
    UnsafeMember,
    WrongHash,
)

DEMO_WORD = "demo"

MAX_CONTRACT_BYTES = 2**20
MAX_MEMBERS = 64
MAX_DIRECTORY_BYTES = 2**18
MAX_MEMBER_BYTES = 512 * 2**20
MAX_TOTAL_BYTES = 2**30
MAX_RATIO = 100
RATIO_FREE_BYTES = 16 * 2**20
"""A member up to this size may be compressed by more than `MAX_RATIO` (a test tensor of zeros is)."""
MAX_MEMBER_NAME_CHARS = 200

_CHUNK_BYTES = 2**20
_END_OF_DIRECTORY = struct.Struct("<4s4H2LH")
_NESTED_MAGIC = (b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"7z\xbc\xaf", b"Rar!")


@dataclass(frozen=True)
class Package:
    """A package whose every clause held when it was opened.

    Attributes:
        path: the zip on disk.
        contract: dmn.json.
        sha256: of the zip file, hex: the package's identity in ledgers and reports.
    """

    path: Path
    contract: Contract
    sha256: str

    def read_member(self, name: str) -> bytes:
        """Return the bytes of a member, checked against its hash once more (the file may have been replaced).

        Raises:
            PackageError: the contract records no such member, or the archive changed since it was opened.
        """
        if name not in self.contract.members:
            raise MissingMember(
                f"{self.path} records no member {name!r}, it has {', '.join(sorted(self.contract.members))}"
            )
        with _opened(self.path) as archive:
            infos = _checked_directory(self.path, archive)
            if name not in infos:
                raise MissingMember(f"{self.path} lost its member {name!r} while it was in use: run again")
            content = b"".join(_stream(self.path, archive, infos[name]))
        _check_hash(self.path, name, hashlib.sha256(content).hexdigest(), self.contract)
        return content

    def network(self, precision: str = REFERENCE_PRECISION) -> bytes:
        """Return the ONNX file of one precision.

        Raises:
            PackageError: the package does not hold that precision, or changed since it was opened.
        """
        held = self.contract.precisions
        if precision not in held:
            raise MissingMember(
                f"{self.path} holds no {precision!r} network, it holds {', '.join(sorted(held))}: "
                "ask for one of these"
            )
        return self.read_member(held[precision].member)


def resolve_package(word: str | Path) -> Path:
    """Return the path of the package that a user named: `demo` is the embedded one, else a path.

    A file that is itself called demo is reached as ./demo.

    Raises:
        NotAPackage: `demo` was asked of an install that does not carry it.
    """
    if word != DEMO_WORD:
        return Path(word)
    path = Path(str(files("dmn_runtime").joinpath("data", "demo.zip")))
    if not os.path.isfile(path):  # noqa: PTH113 (unlike Path's, False for names that the system refuses)
        raise NotAPackage(f"this install carries no demo package ({path} is missing): reinstall dmn")
    return path


def open_package(path: Path) -> Package:
    """Open a package and check all of it: archive, contract, and the hash of every member.

    Raises:
        PackageError: one of its subclasses, each a clause of docs/package.md; nothing is left behind.
    """
    with _opened(path) as archive:
        infos = _checked_directory(path, archive)
        contract = _read_contract(path, archive, infos)
        _check_listing(path, infos, contract)
        for name in contract.members:
            _check_member(path, archive, infos[name], contract)
    return Package(path, contract, _file_sha256(path))


def _opened(path: Path) -> ZipFile:
    """Open the archive once its directory is known to be small: zipfile would read any one whole."""
    try:
        with path.open("rb") as file:
            _check_end(path, file)
        return ZipFile(path)
    except FileNotFoundError:
        raise NotAPackage(
            f"{path} does not exist: give a package written by dmn export, or the word {DEMO_WORD}"
        ) from None
    except IsADirectoryError:
        raise NotAPackage(f"{path} is a folder, wanted a package as one .zip file: zip its content") from None
    except OSError as error:
        raise NotAPackage(
            f"{path} cannot be read ({error.strerror}): check the file's rights and disk"
        ) from error
    except (BadZipFile, NotImplementedError, UnicodeDecodeError) as error:
        raise NotAPackage(_no_zip(path, str(error))) from error


def _no_zip(path: Path, why: str) -> str:
    return f"{path} is not a whole zip archive ({why}), wanted a package written by dmn export: copy it again"


def _check_end(path: Path, file: BinaryIO) -> None:
    size = file.seek(0, 2)
    record = _END_OF_DIRECTORY.size
    if size < record:
        raise NotAPackage(_no_zip(path, f"{size} bytes"))
    file.seek(size - record)
    magic, disk, first_disk, here, count, directory_bytes, offset, comment = _END_OF_DIRECTORY.unpack(
        file.read(record)
    )
    if magic != b"PK\x05\x06" or comment:
        raise NotAPackage(_no_zip(path, "it does not end with a zip directory"))
    if count > MAX_MEMBERS or directory_bytes > MAX_DIRECTORY_BYTES:
        raise OversizedMember(
            f"{path} lists {count} members in {directory_bytes} bytes, a package has at most {MAX_MEMBERS} "
            f"in {MAX_DIRECTORY_BYTES}: export it again"
        )
    # A second directory, or bytes before the first member, would be another file to another program.
    if (disk, first_disk, here) != (0, 0, count) or offset + directory_bytes + record != size:
        raise NotAPackage(_no_zip(path, "bytes lie before or between its parts"))


def _checked_directory(path: Path, archive: ZipFile) -> dict[str, ZipInfo]:
    """Check names, kinds and declared sizes of all members; read none."""
    infos: dict[str, ZipInfo] = {}
    folded: set[str] = set()
    for info in archive.infolist():
        fault = _fault_of_name(info.orig_filename) or _fault_of_kind(info)
        if not fault and info.filename.casefold() in folded:
            fault = "is there twice (also when letter case is ignored)"
        if fault:
            raise UnsafeMember(
                f"{path}: member {_shown(info.orig_filename)} {fault}, which no package needs: do not use it"
            )
        _check_size(path, info)
        folded.add(info.filename.casefold())
        infos[info.filename] = info
    total = sum(info.file_size for info in infos.values())
    if total > MAX_TOTAL_BYTES:
        raise OversizedMember(
            f"{path} would unpack to {total} bytes, a package has at most {MAX_TOTAL_BYTES}: export it again"
        )
    return infos


def _fault_of_name(name: str) -> str:
    if not name or len(name) > MAX_MEMBER_NAME_CHARS or not name.isprintable():
        return f"has no printable name of 1 to {MAX_MEMBER_NAME_CHARS} characters"
    if name.startswith("/") or ":" in name:
        return "has an absolute path"
    if "\\" in name:
        return "has a backslash in its path"
    if any(part in ("", ".", "..") for part in name.split("/")):
        return "has a path that leaves the archive or is a folder"
    return ""


def _fault_of_kind(info: ZipInfo) -> str:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        return "is a link or a device"
    if info.flag_bits & 0x1:
        return "is encrypted"
    if info.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        return f"is compressed by method {info.compress_type}, not stored or deflated"
    return ""


def _check_size(path: Path, info: ZipInfo) -> None:
    most = MAX_CONTRACT_BYTES if info.filename == CONTRACT_MEMBER else MAX_MEMBER_BYTES
    if info.file_size > most:
        raise OversizedMember(
            f"{path}: member {_shown(info.filename)} would unpack to {info.file_size} bytes, at most {most} "
            "are allowed: export it again"
        )
    if info.file_size > max(RATIO_FREE_BYTES, MAX_RATIO * info.compress_size):
        raise OversizedMember(
            f"{path}: member {_shown(info.filename)} grows from {info.compress_size} to {info.file_size} "
            f"bytes, more than {MAX_RATIO} times as many, like a zip bomb: export it again"
        )


def _read_contract(path: Path, archive: ZipFile, infos: dict[str, ZipInfo]) -> Contract:
    if CONTRACT_MEMBER not in infos:
        raise NotAPackage(
            f"{path} has no {CONTRACT_MEMBER}, so it is no package of DMN: make one with dmn export"
        )
    text = b"".join(_stream(path, archive, infos[CONTRACT_MEMBER]))
    try:
        return from_json(parse_strict(text))
    except PackageError as error:
        # The path is added here, once, by the code that knows it.
        raise type(error)(f"{path}: {error}") from None


def _check_listing(path: Path, infos: dict[str, ZipInfo], contract: Contract) -> None:
    present, recorded = set(infos) - {CONTRACT_MEMBER}, set(contract.members)
    if missing := sorted(recorded - present):
        raise MissingMember(
            f"{path} has no member {_shown(missing[0])}, recorded in {CONTRACT_MEMBER}: "
            "copy or export it again"
        )
    if unrecorded := sorted(present - recorded):
        raise UnsafeMember(
            f"{path}: member {_shown(unrecorded[0])} is not recorded in {CONTRACT_MEMBER}: "
            "somebody added it, export it again"
        )


def _check_member(path: Path, archive: ZipFile, info: ZipInfo, contract: Contract) -> None:
    digest = hashlib.sha256()
    for i, chunk in enumerate(_stream(path, archive, info)):
        if i == 0 and chunk.startswith(_NESTED_MAGIC):
            raise UnsafeMember(
                f"{path}: member {_shown(info.filename)} is an archive itself, no package needs one: "
                "do not use it"
            )
        digest.update(chunk)
    _check_hash(path, info.filename, digest.hexdigest(), contract)


def _check_hash(path: Path, name: str, found: str, contract: Contract) -> None:
    wanted = contract.members[name]
    if found != wanted:
        raise WrongHash(
            f"{path}: member {_shown(name)} has sha256 {found[:12]}.., wanted {wanted[:12]}..: "
            "it was changed or damaged, copy or export it again"
        )


def _stream(path: Path, archive: ZipFile, info: ZipInfo) -> Iterator[bytes]:
    """Yield the member's bytes in chunks; stop with an error at the first byte more than declared."""
    # zipfile cuts a stream off at `file_size` in silence; a copy that promises more lets the excess be seen.
    probe = copy(info)
    probe.file_size = info.file_size + 2 * _CHUNK_BYTES
    left = info.file_size
    try:
        with archive.open(probe) as stream:
            while chunk := stream.read(min(left + 1, _CHUNK_BYTES)):
                left -= len(chunk)
                if left < 0:
                    raise OversizedMember(
                        f"{path}: member {_shown(info.filename)} unpacks to more than the "
                        f"{info.file_size} bytes that it declares, like a zip bomb: export it again"
                    )
                yield chunk
    except (BadZipFile, ZlibError, EOFError) as error:
        raise WrongHash(
            f"{path}: member {_shown(info.filename)} cannot be unpacked ({error}): copy or export it again"
        ) from error
    if left:
        raise WrongHash(f"{path}: member {_shown(info.filename)} ends {left} bytes too early: copy it again")


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _shown(name: str) -> str:
    return repr(name if len(name) <= 80 else f"{name[:77]}...")
