"""The ledger: which blocks of an unfinished output are on disk, and of what run (docs/ledger.md).

JSON lines. The first is the header; each other one is a finished block, appended and synced after the block
itself was written:

    {"format": "dmn-ledger", "version": 1, "input": "9f2c...", "package": "77ab...", ...}
    {"block": 0, "crc32": 3421780262}

Live mode, where slices may be written anew after they were used, also records those slices, and with each
block what it was made of; there a later line of a block holds in the place of an earlier one:

    {"slice": 12, "name": "s0013.tif", "size": 92160, "mtime_ns": 1764000000000000000, "crc32": 271828}
    {"block": 1, "crc32": 1208371, "stamp": 3735928559, "stop": 16}
    {"block": 1, "void": true}
"""

import json
import os
import threading
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, final

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.errors import ResumeError
from dmn_runtime.sink.disk import translate_os_errors
from dmn_runtime.sink.paths import ledger_path, new_ledger_path

FORMAT = "dmn-ledger"
FORMAT_VERSION = 1

_ANEW = "or start anew with --overwrite"
_ABSENT = "absent"
_SHORT_HASH = 12
_SHORT_JSON = 60
_SENTENCES = {
    "input": ("the input's fingerprint", "give the volume it was begun with"),
    "package": ("the package's sha256", "give the package it was begun with"),
    "dmn": ("the version of DMN", "use the version it was begun with"),
    "plan": ("the plan's {}", "give the options it was begun with"),
    "extra": ("{}", "give the options it was begun with"),
}
"""First key of a difference -> what differs (with the keys below it) and how to mend it."""


@dataclass(frozen=True)
class LedgerHeader:
    """What a run must share with the one that it resumes.

    Attributes:
        input: fingerprint of the input volume (`Volume.fingerprint`).
        package: sha256 (hex) of the package file.
        plan: JSON values that fix the blocks and what is in them: shapes, tile, halo, grid.
        dmn: version of DMN.
        extra: JSON values of everything else that voxels depend on: normalisation, threshold, precision.
    """

    input: str
    package: str
    plan: Mapping[str, Any]
    dmn: str
    extra: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return the header as it comes back from the file: tuples are lists, keys are text."""
        whole: dict[str, Any] = json.loads(
            json.dumps(
                {
                    "format": FORMAT,
                    "version": FORMAT_VERSION,
                    "input": self.input,
                    "package": self.package,
                    "dmn": self.dmn,
                    "plan": dict(self.plan),
                    "extra": dict(self.extra),
                }
            )
        )
        return whole


@dataclass(frozen=True)
class Made:
    """What a block of live mode was made of.

    Attributes:
        stamp: a number for the content and order of its slices (`dmn_runtime.live.schedule.wanted_stamp`).
        stop: the slice behind its last one.
    """

    stamp: int
    stop: int


@dataclass(frozen=True)
class SliceNote:
    """One version of a slice that live mode has used: its file and the CRC-32 of its pixels."""

    name: str
    size: int
    mtime_ns: int
    crc32: int


def block_crc(probability: NDArray[np.uint8], mask: NDArray[np.uint8]) -> int:
    """Return the CRC-32 of a block's probability and mask, both zyx uint8, in this order."""
    return zlib.crc32(np.ascontiguousarray(mask).data, zlib.crc32(np.ascontiguousarray(probability).data))


@final
class Ledger:
    """The ledger of one unfinished output; blocks may be recorded from several threads.

    Attributes:
        done: indices of the blocks that earlier runs finished.
        made: what those of live mode were made of.
        slices: number of a slice to the version that earlier runs in live mode used last.
    """

    def __init__(self, output: Path, content: "_Content", size: int) -> None:
        self.done = frozenset(content.crcs)
        self.made = content.made
        self.slices = content.slices
        self._output = output
        self._lock = threading.Lock()
        self._size = size
        self._recorded = 0
        with translate_os_errors(output, resumable=True):
            self._file = ledger_path(output).open("r+b", buffering=0)
            # what stands behind the last whole line is a line that a kill cut off
            self._file.truncate(size)
            self._file.seek(size)

    @classmethod
    def create(cls, output: Path, header: LedgerHeader) -> Self:
        """Begin the ledger of the output `output`, replacing any old one.

        Raises:
            OutputError: it cannot be written.
        """
        path = ledger_path(output)
        line = _line(header.as_json())
        with translate_os_errors(output, resumable=False):
            _write_whole(path, line)
        return cls(output, _Content(), len(line))

    @classmethod
    def resume(cls, output: Path, header: LedgerHeader) -> Self:
        """Go on with the ledger of the output `output`, if it is of the same run.

        Raises:
            ResumeError: there is none, it is damaged, or its header differs; says in what.
        """
        path = ledger_path(output)
        try:
            content = path.read_bytes()
        except FileNotFoundError as error:
            raise ResumeError(
                f"{output} has no ledger ({path.name}), so its finished blocks are not known: start anew "
                "with --overwrite"
            ) from error
        size = content.rfind(b"\n") + 1
        lines = content[:size].splitlines()
        begun = _header(path, lines)
        _compare(output, begun, header.as_json())
        return cls(output, _content(path, lines), size)

    @classmethod
    def begun(cls, output: Path) -> dict[str, Any] | None:
        """Return the header of the ledger of `output` as JSON, None where there is none that can be read."""
        path = ledger_path(output)
        try:
            content = path.read_bytes()
            return _header(path, content[: content.rfind(b"\n") + 1].splitlines())
        except (OSError, ResumeError):
            return None

    @property
    def has_blocks(self) -> bool:
        """Tell whether any block is finished, by this run or an earlier one."""
        return bool(self.done) or self._recorded > 0

    def record(self, index: int, crc: int, made: Made | None = None) -> None:
        """Append a finished block; it is on disk when this returns.

        Args:
            index: the block's number in the plan.
            crc: `block_crc` of what was written.
            made: in live mode, what it was made of.

        Raises:
            OutputError: it cannot be written; the ledger stays whole.
        """
        self._append({"block": index, "crc32": crc, **({} if made is None else vars(made))})
        with self._lock:
            self._recorded += 1

    def void(self, index: int) -> None:
        """Take back a block of live mode, which is about to be written anew.

        Raises:
            OutputError: as `record`.
        """
        self._append({"block": index, "void": True})

    def note(self, z: int, version: SliceNote) -> None:
        """Append the version of slice `z` that live mode uses from here on.

        Raises:
            OutputError: as `record`.
        """
        self._append({"slice": z, **vars(version)})

    def _append(self, value: dict[str, Any]) -> None:
        line = _line(value)
        with self._lock, translate_os_errors(self._output, resumable=True):
            try:
                written = self._file.write(line)
                if written < len(line):
                    self._file.write(line[written:])
                os.fsync(self._file.fileno())
            except OSError:
                # another thread's next line must not be glued to the half of this one
                self._file.truncate(self._size)
                self._file.seek(self._size)
                raise
            self._size += len(line)

    def close(self) -> None:
        """Close the file; it stays for a resumed run."""
        self._file.close()

    def remove(self) -> None:
        """Close and remove the file. Called after `Sink.finish`, never before: see docs/ledger.md."""
        self.close()
        with translate_os_errors(self._output, resumable=True):
            ledger_path(self._output).unlink(missing_ok=True)


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: a ledger without its header would be of nobody's run."""
    temporary = new_ledger_path(path)
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def _parse(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise _damaged(path, number) from error
    if not isinstance(value, dict):
        raise _damaged(path, number)
    return value


def _damaged(path: Path, number: int) -> ResumeError:
    return ResumeError(f"{path} is damaged in line {number}: start anew with --overwrite")


def _header(path: Path, lines: list[bytes]) -> dict[str, Any]:
    if not lines:
        raise _damaged(path, 1)
    header = _parse(path, 1, lines[0])
    if header.get("format") != FORMAT:
        raise _damaged(path, 1)
    if header.get("version") != FORMAT_VERSION:
        raise ResumeError(
            f"{path} has ledger format {header.get('version')}, this DMN writes {FORMAT_VERSION}: resume "
            f"with the DMN it was begun with, {_ANEW}"
        )
    return header


@dataclass
class _Content:
    """What the lines behind the header say."""

    crcs: dict[int, int] = field(default_factory=dict)
    made: dict[int, Made] = field(default_factory=dict)
    slices: dict[int, SliceNote] = field(default_factory=dict)

    def take_block(self, value: dict[str, Any]) -> bool:
        """Take in a block's line; tell whether it makes sense."""
        index: Any = value.get("block")
        crc: Any = value.get("crc32")
        if not _are_counts(index):
            return False
        if value.get("void") is True:
            self.crcs.pop(index, None)
            self.made.pop(index, None)
            return True
        if type(crc) is not int:
            return False
        if "stamp" not in value:
            return self.crcs.setdefault(index, crc) == crc
        if not _are_counts(value["stamp"], value.get("stop")):
            return False
        self.crcs[index] = crc
        self.made[index] = Made(value["stamp"], value["stop"])
        return True

    def take_slice(self, value: dict[str, Any]) -> bool:
        """Take in a slice's line; tell whether it makes sense."""
        name = value.get("name")
        numbers: list[Any] = [value.get(key) for key in ("size", "mtime_ns", "crc32")]
        if type(name) is not str or not _are_counts(value["slice"], *numbers):
            return False
        self.slices[value["slice"]] = SliceNote(name, *numbers)
        return True


def _are_counts(*values: Any) -> bool:
    return all(type(value) is int and value >= 0 for value in values)


def _content(path: Path, lines: list[bytes]) -> _Content:
    content = _Content()
    for number, line in enumerate(lines[1:], start=2):
        value = _parse(path, number, line)
        if not (content.take_slice(value) if "slice" in value else content.take_block(value)):
            raise _damaged(path, number)
    return content


def _compare(output: Path, begun: dict[str, Any], now: dict[str, Any]) -> None:
    difference = _first_difference(begun, now, ())
    if difference is None:
        return
    keys, old, new = difference
    what, remedy = _SENTENCES[keys[0]]
    raise ResumeError(
        f"{output} cannot be resumed: {what.format('.'.join(keys[1:]))} was {_short(old, new)} when it was "
        f"begun and is {_short(new, old)} now: {remedy}, {_ANEW}"
    )


def _first_difference(
    begun: Mapping[str, Any], now: Mapping[str, Any], above: tuple[str, ...]
) -> tuple[tuple[str, ...], Any, Any] | None:
    """Return the keys down to the first value that differs, and both values."""
    for key in [*now, *(key for key in begun if key not in now)]:
        old, new = begun.get(key, _ABSENT), now.get(key, _ABSENT)
        if isinstance(old, dict) and isinstance(new, dict):
            below = _first_difference(old, new, (*above, key))
            if below is not None:
                return below
        elif old != new:
            return (*above, key), old, new
    return None


def _short(value: Any, other: Any) -> str:
    """Write a value in few characters, but in enough to tell it from the other."""
    text, different = _text(value), _text(other)
    limit = _SHORT_HASH if isinstance(value, str) else _SHORT_JSON
    if len(text) <= limit or text[:limit] == different[:limit]:
        return text
    return f"{text[:limit]}..."


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
