"""The grid of a search: axes of recipe keys with their values, and the points of their product."""

import json
import re
import tomllib
from dataclasses import dataclass
from hashlib import sha256
from itertools import product
from typing import Any

from dmn_runtime.errors import UsageError

Value = str | int | float | bool | tuple["Value", ...]

OF_THE_FOLDS = ("validate", "data.source")
"""Sections that folds are made from, so that the grid may not touch them."""
MOST_NAME_CHARS = 80


@dataclass(frozen=True)
class Axis:
    """A key of the recipe and the values that are tried, in the order given."""

    key: str
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Point:
    """One value for every axis, in the order of the axes."""

    settings: tuple[tuple[str, Value], ...]

    @property
    def overrides(self) -> tuple[str, ...]:
        """The settings as `load_recipe` takes them."""
        return tuple(f"{key}={_json(value)}" for key, value in self.settings)

    @property
    def folder_name(self) -> str:
        """A name that says the settings and is theirs alone, whatever the order of the axes."""
        if not self.settings:
            return "recipe"
        settings = sorted(self.settings)
        words = "+".join(f"{key}={shown(value)}" for key, value in settings)
        digest = sha256(_json(settings).encode()).hexdigest()[:8]
        return f"{re.sub(r'[^A-Za-z0-9._=+-]+', '-', words)[:MOST_NAME_CHARS]}-{digest}"


def parse_axis(text: str) -> Axis:
    """Read an axis as it is written on the command line, "loss.dice=0,1".

    The values are TOML values; a list of which one is no TOML is split at its commas, and what is no TOML
    value by itself is a string, so that names need no quotes.

    Raises:
        UsageError: there is no key or no value, a value comes twice or is a table or a date, or the key is
            one that the folds set.
    """
    key, equals, listed = text.partition("=")
    key = key.strip()
    if not equals or not all(key.split(".")) or not listed.strip():
        raise UsageError(f"--grid got {text!r}, wanted KEY=VALUE,VALUE as in --grid optimiser.lr=1e-3,3e-3")
    for section in OF_THE_FOLDS:
        if f"{key}.".startswith(f"{section}."):
            raise UsageError(
                f"--grid {text}: the folds are cut from {section}, so it is the same for all points"
            )
    values = tuple(_frozen(value, text) for value in _read(listed))
    for index, value in enumerate(values):
        if value in values[:index]:
            raise UsageError(f"--grid {text}: the value {shown(value)} comes twice, wanted each once")
    return Axis(key, values)


def points_of(axes: tuple[Axis, ...]) -> tuple[Point, ...]:
    """Return the product of the axes, the last one changing fastest; one empty point without axes.

    Raises:
        UsageError: a key has two axes.
    """
    keys = [axis.key for axis in axes]
    for index, key in enumerate(keys):
        if key in keys[:index]:
            raise UsageError(f"--grid names {key} twice: list all its values in one --grid")
    return tuple(
        Point(tuple(zip(keys, values, strict=True))) for values in product(*(axis.values for axis in axes))
    )


def shown(value: Value) -> str:
    """Return a value for people: strings without quotes."""
    return value if isinstance(value, str) else _json(value)


def _read(listed: str) -> list[Any]:
    try:
        values: list[Any] = tomllib.loads(f"values = [{listed}]")["values"]
        return values
    except tomllib.TOMLDecodeError:
        return [_read_one(text.strip()) for text in listed.split(",")]


def _read_one(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _frozen(value: Any, text: str) -> Value:
    if isinstance(value, list):
        return tuple(_frozen(each, text) for each in value)
    if value == "" or not isinstance(value, str | int | float | bool):
        raise UsageError(f"--grid {text}: wanted numbers, strings, true, false or arrays of them as values")
    return value


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
