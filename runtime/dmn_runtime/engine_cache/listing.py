"""What the engine cache holds, damaged entries included."""

from dataclasses import dataclass
from pathlib import Path

from dmn_runtime.cache_folder import cache_folder
from dmn_runtime.engine_cache.keeping import size_bytes
from dmn_runtime.engine_cache.layout import Layout
from dmn_runtime.engine_cache.reading import Damaged, read_entry, trusted_uids
from dmn_runtime.engine_cache.record import Record


@dataclass(frozen=True)
class Entry:
    """One entry, or what stands in its place.

    `digest` names it. `record` is None for a damaged one, and `fault` then says what is wrong with it.
    """

    path: Path
    digest: str
    size_bytes: int
    record: Record | None
    fault: str | None


def entries(folder: Path | None = None) -> tuple[Entry, ...]:
    """Return all entries, the newest first and the damaged last; each plan is read and hashed.

    Args:
        folder: the cache folder; None is `cache_folder()`.
    """
    layout = Layout(cache_folder() if folder is None else folder)
    trusted = trusted_uids(layout.cache)
    found = [_entry(path, trusted) for path in layout.entries()]
    return tuple(sorted(found, key=_order))


def _entry(path: Path, trusted: frozenset[int]) -> Entry:
    try:
        record = read_entry(path, trusted).record
    except Damaged as error:
        return Entry(path, path.name, size_bytes(path), None, str(error))
    return Entry(path, path.name, size_bytes(path), record, None)


def _order(entry: Entry) -> tuple[float, str]:
    return (-entry.record.created.timestamp() if entry.record is not None else 1.0, entry.digest)
