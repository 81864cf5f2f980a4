"""A small file that is whole or absent: written beside its place, synced, then renamed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dmn_runtime.errors import OutputError


@contextmanager
def whole_file(path: Path, what: str) -> Iterator[Path]:
    """Offer a sibling to write to, which replaces `path` if the block ends without an error.

    Args:
        path: the file.
        what: what it is, for people ("report").

    Raises:
        OutputError: it cannot be written; nothing is left behind, and an older file stays as it was.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        with partial.open("r+b") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise OutputError(
            f"the {what} {path} cannot be written ({error.strerror}): check the folder and the free space"
        ) from error
    finally:
        with suppress(OSError):  # gone where all went well; else the first error is the one to tell
            partial.unlink()
