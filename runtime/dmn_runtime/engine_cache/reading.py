"""Reading an entry: a plan comes out only if the record beside it is for this key and vouches for it."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dmn_runtime.engine_cache.key import EngineKey
from dmn_runtime.engine_cache.layout import PLAN, RECORD
from dmn_runtime.engine_cache.record import MAX_RECORD_BYTES, BadRecord, Record, parse_record


class Damaged(Exception):
    """The entry cannot be used; the message says why, in words that begin "its ..."."""


@dataclass(frozen=True)
class Vouched:
    """A plan and the record that vouches for it: size and sha256 are those recorded."""

    plan: bytes
    record: Record


def read_entry(folder: Path, trusted_uids: frozenset[int]) -> Vouched:
    """Return the plan of an entry with its record.

    Args:
        folder: the entry's folder.
        trusted_uids: the users whose files are believed; anybody's where that is unknown (Windows).

    Raises:
        Damaged: the record is missing, unreadable or another's; the plan is not the recorded one.
    """
    record = _record(folder, trusted_uids)
    if record.key.digest != folder.name:
        raise Damaged("its record belongs to another engine")
    return Vouched(_plan(folder, record, trusted_uids), record)


def read_plan(folder: Path, wanted: EngineKey, trusted_uids: frozenset[int]) -> bytes:
    """Return the plan for the key `wanted`.

    Raises:
        Damaged: as of `read_entry`; or the record is for another key, and the message names the differences.
    """
    record = _record(folder, trusted_uids)
    if record.key.digest != wanted.digest:
        raise Damaged(f"its record is of a foreign engine: {differences(record.key, wanted)}")
    return _plan(folder, record, trusted_uids)


def trusted_uids(cache: Path) -> frozenset[int]:
    """Return the users whose files in `cache` are believed: this one, root, and the folder's owner.

    A folder that many may write to, such as one below /tmp, holds what strangers put there; who owns the
    folder is trusted by whoever chose it.
    """
    if not hasattr(os, "geteuid"):
        return frozenset()
    try:
        owner = {cache.stat().st_uid}
    except OSError:  # no folder yet
        owner = set()
    return frozenset({os.geteuid(), 0} | owner)


_WORDS = {
    "onnx_sha256": "network",
    "library": "library",
    "library_version": "library version",
    "device": "GPU",
    "driver": "driver",
    "precision": "precision",
    "profile": "tile profile",
    "targets": "targets",
    "platform": "platform",
    "recipe": "recipe of settings",
}
_LONGEST_VALUE = 40


def differences(found: EngineKey, wanted: EngineKey) -> str:
    """Say in which fields two keys differ ("driver 570.1 where 581.2 is wanted")."""
    old, new = found.to_json(), wanted.to_json()
    return ", ".join(
        f"{words} {_short(old[name])} where {_short(new[name])} is wanted"
        for name, words in _WORDS.items()
        if old[name] != new[name]
    )


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 3] + "..."


def _record(folder: Path, trusted: frozenset[int]) -> Record:
    content = _read(folder / RECORD, "record", MAX_RECORD_BYTES, trusted)
    if len(content) > MAX_RECORD_BYTES:
        raise Damaged(f"its record is larger than {MAX_RECORD_BYTES:,} bytes")
    try:
        return parse_record(content)
    except BadRecord as error:
        raise Damaged(f"its record {error}") from error


def _plan(folder: Path, record: Record, trusted: frozenset[int]) -> bytes:
    plan = _read(folder / PLAN, "plan", record.plan_bytes, trusted)
    if len(plan) < record.plan_bytes:
        raise Damaged(f"its plan is cut short: {len(plan):,} of {record.plan_bytes:,} bytes")
    if len(plan) > record.plan_bytes:
        raise Damaged(f"its plan is longer than the {record.plan_bytes:,} bytes recorded")
    if hashlib.sha256(plan).hexdigest() != record.plan_sha256:
        raise Damaged("its plan was changed after it was built: its sha256 is not the recorded one")
    return plan


def _read(path: Path, what: str, most: int, trusted: frozenset[int]) -> bytes:
    """Return at most one byte more than `most`, so that a wrong size costs no memory."""
    try:
        if not path.is_file():  # a pipe in its place would never end
            raise Damaged(f"its {what} is missing")
        with path.open("rb") as file:
            if trusted and os.fstat(file.fileno()).st_uid not in trusted:
                raise Damaged(f"its {what} belongs to another user of this computer")
            return file.read(most + 1)
    except OSError as error:
        raise Damaged(f"its {what} cannot be read ({error.strerror or error})") from error
