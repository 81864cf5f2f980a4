"""The record of one engine: which plan our own build wrote, and for which key."""

import json
import re
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, TypeVar, get_args

from dmn_runtime.engine_cache.key import EngineKey, Library, Platform

FORMAT = "dmn-engine"
FORMAT_VERSION = 1
MAX_RECORD_BYTES = 1_000_000

_HASH = re.compile(r"[0-9a-f]{64}")
_MAX_TEXT = 1000
_T = TypeVar("_T")


class BadRecord(Exception):
    """The record cannot be believed; the message says why, in words that follow "its record"."""


@dataclass(frozen=True)
class Label:
    """Whose engine it is, for people: the package's name and sha256. No part of the key."""

    package: str
    package_sha256: str


@dataclass(frozen=True)
class Record:
    """What record.json holds.

    Attributes:
        key: what the plan was built for.
        plan_sha256: of the plan, 64 lower-case hex digits.
        plan_bytes: its size.
        build_s: how long the build took, in seconds.
        created: when it ended, with its time zone.
        dmn_version: of the DMN that built it.
        label: for people.
    """

    key: EngineKey
    plan_sha256: str
    plan_bytes: int
    build_s: float
    created: datetime
    dmn_version: str
    label: Label


def record_text(record: Record) -> str:
    """Return record.json."""
    document = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "key": record.key.to_json(),
        "plan_sha256": record.plan_sha256,
        "plan_bytes": record.plan_bytes,
        "build_s": record.build_s,
        "created": record.created.isoformat(timespec="seconds"),
        "dmn_version": record.dmn_version,
        "label": asdict(record.label),
    }
    return json.dumps(document, indent=2, ensure_ascii=True, allow_nan=False) + "\n"


def parse_record(content: bytes) -> Record:
    """Return the record that record.json holds.

    Raises:
        BadRecord: it is not JSON, of another format, or a field is missing, unknown or out of its range.
    """
    try:
        document = json.loads(content.decode("utf-8"), parse_constant=_refuse, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise BadRecord("is not readable JSON") from error
    top = _Fields(document, "")
    if top.take("format", str) != FORMAT or top.take("format_version", int) != FORMAT_VERSION:
        raise BadRecord("is of another format")
    record = Record(
        key=_key(top.take("key", dict)),
        plan_sha256=top.hash("plan_sha256"),
        plan_bytes=top.positive("plan_bytes"),
        build_s=float(top.number("build_s")),
        created=_time(top.text("created")),
        dmn_version=top.text("dmn_version"),
        label=_label(top.take("label", dict)),
    )
    top.end()
    return record


def _key(document: Any) -> EngineKey:
    fields = _Fields(document, "key.")
    targets = fields.take("targets", list)
    if not all(isinstance(target, str) and target.isprintable() for target in targets):
        raise BadRecord("has a wrong field key.targets")
    key = EngineKey(
        onnx_sha256=fields.hash("onnx_sha256"),
        library=fields.one_of("library", get_args(Library)),
        library_version=fields.text("library_version"),
        device=fields.text("device"),
        driver=fields.text("driver"),
        precision=fields.text("precision"),
        profile=fields.take("profile", dict),
        targets=tuple(targets),
        platform=fields.one_of("platform", get_args(Platform)),
        recipe=fields.take("recipe", int),
    )
    fields.end()
    return key


def _label(document: Any) -> Label:
    fields = _Fields(document, "label.")
    label = Label(fields.text("package"), fields.text("package_sha256"))
    fields.end()
    return label


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadRecord("has a wrong field created") from error
    if time.tzinfo is None:
        raise BadRecord("has a wrong field created")
    return time


class _Fields:
    """An object of the record, from which each field is taken once; `end` refuses what is left."""

    def __init__(self, document: Any, prefix: str) -> None:
        if not isinstance(document, dict):
            raise BadRecord("is not an object")
        self._left = dict(document)
        self._prefix = prefix

    def take(self, name: str, kind: type) -> Any:
        value = self._left.pop(name, None)
        if type(value) is not kind:  # bool is an int to isinstance
            raise self._wrong(name)
        return value

    def text(self, name: str) -> str:
        value: str = self.take(name, str)
        # Texts are shown in terminals: no control characters.
        return self._checked(name, value, value.isprintable() and len(value) <= _MAX_TEXT)

    def hash(self, name: str) -> str:
        value: str = self.take(name, str)
        return self._checked(name, value, _HASH.fullmatch(value) is not None)

    def positive(self, name: str) -> int:
        value: int = self.take(name, int)
        return self._checked(name, value, value > 0)

    def number(self, name: str) -> float:
        value: float = self._left.pop(name, -1)
        # The bound also keeps a huge integer from overflowing a float.
        return self._checked(name, value, type(value) in (int, float) and 0 <= value < 1e9)

    def one_of(self, name: str, words: tuple[Any, ...]) -> Any:
        value: str = self.take(name, str)
        return self._checked(name, value, value in words)

    def end(self) -> None:
        if self._left:
            raise BadRecord("has fields that this DMN does not know")

    def _checked(self, name: str, value: _T, right: bool) -> _T:
        if not right:
            raise self._wrong(name)
        return value

    def _wrong(self, name: str) -> BadRecord:
        return BadRecord(f"has a wrong or no field {self._prefix}{name}")


def _refuse(constant: str) -> Any:
    raise ValueError(constant)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key is repeated")
    return document
