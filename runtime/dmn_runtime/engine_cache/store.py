"""Getting an engine: from the cache where its record vouches for it, else built, checked and kept."""

import hashlib
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from dmn_runtime._version import __version__
from dmn_runtime.cache_folder import VARIABLE, cache_folder
from dmn_runtime.engine_cache.keeping import keep, remove
from dmn_runtime.engine_cache.key import EngineKey
from dmn_runtime.engine_cache.layout import PLAN, Layout
from dmn_runtime.engine_cache.lock import held
from dmn_runtime.engine_cache.reading import Damaged, read_plan, trusted_uids
from dmn_runtime.engine_cache.record import Label, Record
from dmn_runtime.errors import EngineError

How = Literal["cached", "built", "rebuilt", "unkept"]

_ABSENT = "the engine cache has none"


@dataclass(frozen=True)
class Obtained:
    """A plan that may be loaded.

    `how`: cached = read from the cache; built = there was none; rebuilt = there was one that could not be
    used; unkept = built, and the cache cannot be written. `why` says it in words, without a full stop.
    """

    plan: bytes
    how: How
    why: str


@dataclass(frozen=True)
class _Task:
    """What `obtain` was asked for."""

    key: EngineKey
    label: Label
    build: Callable[[Path], None]
    check: Callable[[bytes], None]
    layout: Layout

    @property
    def entry(self) -> Path:
        return self.layout.entry(self.key.digest)

    @property
    def words(self) -> str:
        return f"{self.label.package} ({self.key.precision}, {self.key.library})"


@dataclass(frozen=True)
class _Found:
    """What the cache has: a plan, or the fault for which there is none (None: no entry at all)."""

    plan: bytes | None
    fault: str | None


@dataclass(frozen=True)
class _Fresh:
    """What a build gave, checked."""

    plan: bytes
    build_s: float


def obtain(
    key: EngineKey,
    label: Label,
    build: Callable[[Path], None],
    check: Callable[[bytes], None],
    *,
    say: Callable[[str], None] = lambda _: None,
    folder: Path | None = None,
) -> Obtained:
    """Return the plan for `key`: from the cache, or built here and kept there.

    Whatever is wrong with the entry, the plan is built again. A plan that its record does not vouch for is
    neither returned nor given to `check`. Of several processes that want the same plan one builds.

    Args:
        key: what the plan is for.
        label: whose it is, for people.
        build: writes the plan to the path it is given, whose folder exists; raises EngineError where the
            network cannot be built, OSError where the disk refuses: then it is called again with a path
            outside the cache.
        check: raises EngineError for a plan that the library of this machine refuses.
        say: is told what this call waits for.
        folder: the cache folder; None is `cache_folder()`.

    Raises:
        EngineError: the build failed, or what it gave is refused; nothing of it is kept.
    """
    task = _Task(key, label, build, check, Layout(cache_folder() if folder is None else folder))
    found = _look(task)
    if found.plan is not None:
        return Obtained(found.plan, "cached", "read from the engine cache")

    def waiting() -> None:
        say(f"another process builds the engine of {task.words}: waiting for it")

    try:
        with held(task.layout.lock(key.digest), waiting):
            return _obtain_alone(task)
    except OSError as error:
        return _build_elsewhere(task, found.fault, error)


def _obtain_alone(task: _Task) -> Obtained:
    """Look again, since another process may have built meanwhile; else build. The lock is held."""
    found = _look(task)
    if found.plan is not None:
        return Obtained(found.plan, "cached", "another process built it meanwhile")
    _clear_dead_builds(task)
    partial = task.layout.new_partial(task.key.digest)
    partial.mkdir(parents=True)
    try:
        fresh = _build(task, partial / PLAN)
        try:
            keep(partial, task.entry, _record(task, fresh))
        except OSError as error:  # the plan is in hand: no second build
            return Obtained(fresh.plan, "unkept", _unkept_words(task, found.fault, error))
    finally:
        with suppress(OSError):  # gone where all went well; else the next build removes it
            remove(partial)
    return Obtained(fresh.plan, "rebuilt" if found.fault else "built", found.fault or _ABSENT)


def _look(task: _Task) -> _Found:
    if not os.path.lexists(task.entry):
        return _Found(None, None)
    try:
        plan = read_plan(task.entry, task.key, trusted_uids(task.layout.cache))
    except Damaged as error:
        return _Found(None, f"the cached engine is not used: {error}")
    try:
        task.check(plan)
    except (EngineError, OSError) as error:
        return _Found(None, f"the cached engine is not used: {task.key.library} refuses it ({error})")
    return _Found(plan, None)


def _clear_dead_builds(task: _Task) -> None:
    """Remove what killed builds of this engine left: the lock is held, so none of them is alive."""
    for partial, digest in task.layout.partials():
        if digest == task.key.digest:
            with suppress(OSError):  # a child that outlived its parent may still write there
                remove(partial)


def _build(task: _Task, path: Path) -> _Fresh:
    """Build, read and check the plan.

    Raises:
        EngineError: the build failed, or wrote nothing, or what it wrote is refused.
        OSError: the disk refuses.
    """
    began = time.monotonic()
    task.build(path)
    took_s = time.monotonic() - began
    plan = path.read_bytes() if path.is_file() else b""
    if not plan:
        raise EngineError(f"the build of the engine of {task.words} ended without a plan: report this")
    try:
        task.check(plan)
    except EngineError as error:
        raise EngineError(f"the engine just built of {task.words} is refused: {error}") from error
    return _Fresh(plan, took_s)


def _record(task: _Task, fresh: _Fresh) -> Record:
    return Record(
        key=task.key,
        plan_sha256=hashlib.sha256(fresh.plan).hexdigest(),
        plan_bytes=len(fresh.plan),
        build_s=round(fresh.build_s, 3),
        created=datetime.now(UTC).replace(microsecond=0),
        dmn_version=__version__,
        label=task.label,
    )


def _build_elsewhere(task: _Task, fault: str | None, refusal: OSError) -> Obtained:
    """Build in a folder of the system for temporary files, for this run alone."""
    try:
        with tempfile.TemporaryDirectory(prefix="dmn-engine-", ignore_cleanup_errors=True) as folder:
            fresh = _build(task, Path(folder) / PLAN)
    except OSError as error:
        raise EngineError(
            f"the engine of {task.words} cannot be built: neither the engine cache "
            f"({_system_words(refusal)}) nor the folder for temporary files ({_system_words(error)}) can be "
            f"written; free space, or name another folder with {VARIABLE} and TMPDIR"
        ) from error
    return Obtained(fresh.plan, "unkept", _unkept_words(task, fault, refusal))


def _unkept_words(task: _Task, fault: str | None, refusal: OSError) -> str:
    return (
        f"{fault or _ABSENT}; this one is not kept, since {task.layout.engines} cannot be written "
        f"({_system_words(refusal)}): free space there, or name another folder with {VARIABLE}"
    )


def _system_words(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__
