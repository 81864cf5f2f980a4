"""Removing engines: first the plan of what goes and why, then the removal, each entry under its lock."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from dmn_runtime.cache_folder import cache_folder
from dmn_runtime.engine_cache.here import Here, state_of
from dmn_runtime.engine_cache.keeping import remove, size_bytes
from dmn_runtime.engine_cache.layout import Layout
from dmn_runtime.engine_cache.listing import Entry
from dmn_runtime.engine_cache.lock import held_if_free
from dmn_runtime.words import counted

Outcome = Literal["removed", "would be removed", "in use", "cannot be removed"]


@dataclass(frozen=True)
class Doomed:
    """One thing to remove: an entry, or the folder of an unfinished build. `why` is for people."""

    path: Path
    digest: str
    size_bytes: int
    why: str


@dataclass(frozen=True)
class Pruned:
    """What became of it; `fault` is the system's word where it cannot be removed."""

    doomed: Doomed
    outcome: Outcome
    fault: str | None = None


def plan_prune(
    found: tuple[Entry, ...],
    here: Here,
    now: datetime,
    *,
    everything: bool = False,
    older_than: timedelta | None = None,
) -> tuple[Doomed, ...]:
    """Return the entries to remove: those that cannot be used here any more, and as the options say.

    Args:
        found: all entries.
        here: this machine.
        now: with its time zone.
        everything: all go.
        older_than: those built longer ago go too, usable or not.
    """
    whys = ((entry, _why(entry, here, now, everything, older_than)) for entry in found)
    return tuple(Doomed(entry.path, entry.digest, entry.size_bytes, why) for entry, why in whys if why)


def _why(
    entry: Entry, here: Here, now: datetime, everything: bool, older_than: timedelta | None
) -> str | None:
    state = state_of(entry, here)
    if entry.fault is not None:
        return f"damaged: {entry.fault}"
    if state not in ("ready", "for other machines"):
        return state
    if everything:
        return "all are to go"
    if older_than is not None and entry.record is not None and now - entry.record.created > older_than:
        return f"older than {counted(older_than.days, 'day')}"
    return None


def unfinished_builds(folder: Path | None = None) -> tuple[Doomed, ...]:
    """Return the folders of unfinished builds; those of builds that are alive are in use, by their lock."""
    layout = Layout(cache_folder() if folder is None else folder)
    return tuple(
        Doomed(path, digest, size_bytes(path), "left by a build that was cut off")
        for path, digest in layout.partials()
    )


def prune(
    doomed: tuple[Doomed, ...], *, dry_run: bool = False, folder: Path | None = None
) -> tuple[Pruned, ...]:
    """Remove what is doomed, but for what another process holds at this moment.

    Args:
        doomed: of `plan_prune` and `unfinished_builds`.
        dry_run: remove nothing; locks are tried all the same, so that what is in use is said.
        folder: the cache folder; None is `cache_folder()`.
    """
    layout = Layout(cache_folder() if folder is None else folder)
    return tuple(_prune_one(layout, one, dry_run) for one in doomed)


def _prune_one(layout: Layout, doomed: Doomed, dry_run: bool) -> Pruned:
    try:
        with held_if_free(layout.lock(doomed.digest)) as free:
            if not free:
                return Pruned(doomed, "in use")
            if dry_run:
                return Pruned(doomed, "would be removed")
            remove(doomed.path)
    except OSError as error:
        return Pruned(doomed, "cannot be removed", error.strerror or str(error))
    return Pruned(doomed, "removed")
