"""`dmn engines`: list or prune the engines built on this machine."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

import typer

from dmn_runtime.cache_folder import cache_folder
from dmn_runtime.engine_cache.here import Here, find_here, state_of
from dmn_runtime.engine_cache.layout import Layout
from dmn_runtime.engine_cache.listing import Entry, entries
from dmn_runtime.engine_cache.prune import Pruned, plan_prune, prune, unfinished_builds
from dmn_runtime.errors import UsageError
from dmn_runtime.words import counted

_MOST_DAYS = 36_500
_HEADER = ("package", "precision", "library", "GPU", "size", "age", "state")


class Action(StrEnum):
    """What to do with the engines."""

    LIST = "list"
    PRUNE = "prune"


def command(
    action: Annotated[
        Action,
        typer.Argument(help="list what the cache holds, or prune what cannot be used here any more."),
    ],
    everything: Annotated[bool, typer.Option("--all", help="prune: remove all engines.")] = False,
    older_than_days: Annotated[
        int | None,
        typer.Option(
            min=0, max=_MOST_DAYS, help="prune: also remove usable engines built longer ago than this."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="prune: say what would go, remove nothing.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="list: print one JSON object and nothing else.")
    ] = False,
) -> None:
    """List or prune the engines built on this machine.

    An engine is used again while network, precision, tile profile, library version, driver and GPU stay the
    same. What was pruned is built again when it is needed. The environment variable DMN_CACHE_DIR moves the
    cache.
    """
    if action is Action.LIST and (everything or dry_run or older_than_days is not None):
        raise UsageError("--all, --older-than-days and --dry-run belong to dmn engines prune: leave them out")
    if action is Action.PRUNE and as_json:
        raise UsageError("--json belongs to dmn engines list: leave it out")
    found, here, now = entries(), find_here(), datetime.now(UTC)
    if action is Action.LIST:
        place = str(Layout(cache_folder()).engines)
        typer.echo(list_json(found, here, place) if as_json else list_text(found, here, now, place))
        return
    older_than = None if older_than_days is None else timedelta(days=older_than_days)
    doomed = plan_prune(found, here, now, everything=everything, older_than=older_than)
    typer.echo(prune_text(prune((*doomed, *unfinished_builds()), dry_run=dry_run), len(found)))


def list_text(found: Sequence[Entry], here: Here, now: datetime, place: str) -> str:
    """Return the entries as a table for people, and where they are."""
    if not found:
        return f"no engines in {place}"
    rows = [_HEADER, *(_row(entry, here, now) for entry in found)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    lines = ["  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)) for row in rows]
    total = size_words(sum(entry.size_bytes for entry in found))
    last = f"{counted(len(found), 'engine')}, {total}, in {place}"
    return "\n".join([*(line.rstrip() for line in lines), "", last])


def _row(entry: Entry, here: Here, now: datetime) -> tuple[str, ...]:
    size = size_words(entry.size_bytes)
    if entry.record is None:
        return (f"{entry.digest[:12]}...", "?", "?", "?", size, "?", f"damaged: {entry.fault}")
    key = entry.record.key
    library = f"{key.library} {key.library_version}"
    gpu = f"{key.device}; driver {key.driver}" if key.device else ", ".join(key.targets) or "any"
    age = age_words(now - entry.record.created)
    return (entry.record.label.package, key.precision, library, gpu, size, age, state_of(entry, here))


def list_json(found: Sequence[Entry], here: Here, place: str) -> str:
    """Return the entries as one JSON object."""
    return json.dumps({"folder": place, "engines": [_entry_json(entry, here) for entry in found]})


def _entry_json(entry: Entry, here: Here) -> dict[str, Any]:
    known: dict[str, Any] = {
        "digest": entry.digest,
        "bytes": entry.size_bytes,
        "state": state_of(entry, here),
        "fault": entry.fault,
    }
    if entry.record is None:
        return known
    return known | {
        "package": entry.record.label.package,
        "package_sha256": entry.record.label.package_sha256,
        "created": entry.record.created.isoformat(),
        "build_s": entry.record.build_s,
        "dmn_version": entry.record.dmn_version,
        "key": entry.record.key.to_json(),
    }


def prune_text(pruned: Sequence[Pruned], entries_before: int) -> str:
    """Return what became of each as lines for people, with the sum last."""
    lines = [_pruned_line(one) for one in pruned]
    for outcome in ("removed", "would be removed"):
        freed = [one.doomed.size_bytes for one in pruned if one.outcome == outcome]
        if freed:
            lines.append(f"{outcome}: {len(freed)}, {sum(freed):,} bytes")
    if not lines:
        return "nothing to remove: " + (
            "every engine can be kept" if entries_before else "there are no engines"
        )
    return "\n".join(lines)


def _pruned_line(one: Pruned) -> str:
    fault = f" ({one.fault})" if one.fault else ""
    size = size_words(one.doomed.size_bytes)
    return f"{one.outcome}{fault}: {one.doomed.digest[:12]}..., {size}, {one.doomed.why}"


def size_words(count: int) -> str:
    """Return a number of bytes for people."""
    if count < 1_000_000:
        return f"{count / 1e3:.1f} kB" if count >= 1000 else f"{count} bytes"
    return f"{count / 1e6:.1f} MB" if count < 1_000_000_000 else f"{count / 1e9:.1f} GB"


def age_words(age: timedelta) -> str:
    """Return an age for people: minutes, hours or days, whole ones; a clock that went back gives 0 min."""
    minutes = max(0, int(age.total_seconds() // 60))
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 2 * 24 * 60 else f"{minutes // (24 * 60)} days"
