"""Figures kept in a JSON file beside a run, which count only for what they were made from."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from dmn_runtime.errors import RunError

T = TypeVar("T")


def read_kept(path: Path, head: dict[str, Any], parse: Callable[[dict[str, Any]], T]) -> T | None:
    """Return what a file keeps; None where there is no file or its head is another one.

    Args:
        path: of the file.
        head: names and values that the file must hold, of types that JSON gives back as they were.
        parse: makes the figures of the file's values.

    Raises:
        RunError: the file is damaged.
    """
    if not path.is_file():
        return None
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return parse(kept) if {name: kept[name] for name in head} == head else None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} is damaged ({type(error).__name__}): remove it") from error
