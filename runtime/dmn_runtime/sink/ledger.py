"""The ledger: which blocks of an unfinished output are on disk, and of what run (docs/ledger.md).

JSON lines. The first is the header; each other one is a finished block, appended and synced after the block
itself was written:

    {"format": "dmn-ledger", "version": 1, "input": "9f2c...", "package": "77ab...", ...}
    {"block": 0, "crc32": 3421780262}
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


def block_crc(probability: NDArray[np.uint8], mask: NDArray[np.uint8]) -> int:
    """Return the CRC-32 of a block's probability and mask, both zyx uint8, in this order."""
    return zlib.crc32(np.ascontiguousarray(mask).data, zlib.crc32(np.ascontiguousarray(probability).data))


@final
class Ledger:
    """The ledger of one unfinished output; blocks may be recorded from several threads.

    Attributes:
        done: indices of the blocks that earlier runs finished.
    """

    def __init__(self, output: Path, done: frozenset[int], size: int) -> None:
        self.done = done
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
        return cls(output, frozenset(), len(line))

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
        return cls(output, _blocks(path, lines), size)

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

    def record(self, index: int, crc: int) -> None:
        """Append a finished block; it is on disk when this returns.

        Args:
            index: the block's number in the plan.
            crc: `block_crc` of what was written.

        Raises:
            OutputError: it cannot be written; the ledger stays whole.
        """
        line = _line({"block": index, "crc32": crc})
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
            self._recorded += 1

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


def _blocks(path: Path, lines: list[bytes]) -> frozenset[int]:
    crcs: dict[int, int] = {}
    for number, line in enumerate(lines[1:], start=2):
        value = _parse(path, number, line)
        index, crc = value.get("block"), value.get("crc32")
        if type(index) is not int or type(crc) is not int or index < 0 or crcs.setdefault(index, crc) != crc:
            raise _damaged(path, number)
    return frozenset(crcs)


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
