"""Files that are whole or absent: written beside their place, then renamed; a full disk is one sentence."""

import json
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from dmn_runtime.errors import OutputError

HASH_CHUNK = 1 << 20


@contextmanager
def translate_write_errors(path: Path) -> Iterator[None]:
    """Turn what the system says against writing `path` into an OutputError.

    Raises:
        OutputError: says what the system said and what to do.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:  # safetensors reports a full disk by an error of its own
        said = (error.strerror if isinstance(error, OSError) else None) or error
        raise OutputError(
            f"{path} cannot be written ({said}): free space or lift the limit, then run again, "
            "with --resume if the run had begun"
        ) from error


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a sibling of `path`, then move it to `path` in one step.

    Raises:
        OutputError: the disk is full, or the system forbids it otherwise.
    """
    partial = path.with_name(f"{path.name}.partial")
    with translate_write_errors(path):
        try:
            partial.unlink(missing_ok=True)
            partial.touch()
            mode = stat.S_IMODE(partial.stat().st_mode)
            write(partial)
            partial.chmod(mode)  # safetensors makes files that nobody else may read
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    write_whole(path, lambda partial: _keep(partial.write_text(text, encoding="utf-8")))


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON file, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def file_sha256(path: Path) -> str:
    """Return the sha256 (hex) of a file's bytes."""
    digest = sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(HASH_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _keep(_count: int) -> None:
    """Drop a count of characters: `write_whole` wants a function that returns nothing."""
