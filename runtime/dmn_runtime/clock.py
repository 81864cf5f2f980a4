"""How long each stage of a run was at work, and how many blocks stood in each queue."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter


class Clock:
    """Busy seconds by stage, summed over threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._busy_s: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time spent inside to stage `name`."""
        start = perf_counter()
        try:
            yield
        finally:
            self.add(name, perf_counter() - start)

    def add(self, name: str, seconds: float) -> None:
        """Count seconds that were measured elsewhere, on a GPU say, to stage `name`."""
        with self._lock:
            self._busy_s[name] = self._busy_s.get(name, 0.0) + seconds

    @property
    def busy_s(self) -> dict[str, float]:
        """Busy seconds of every stage so far."""
        with self._lock:
            return dict(self._busy_s)


@dataclass
class _Level:
    now: int = 0
    most: int = 0
    area: float = 0.0
    since_s: float = 0.0


@dataclass
class Occupancy:
    """How full queues were, over time. `seconds` tells the time."""

    seconds: Callable[[], float] = perf_counter
    _levels: dict[str, _Level] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _begin_s: float | None = None

    def change(self, name: str, by: int) -> None:
        """Say that `by` things more (or fewer) are in queue `name` from now on."""
        with self._lock:
            now_s = self.seconds()
            if self._begin_s is None:
                self._begin_s = now_s
            level = self._levels.setdefault(name, _Level(since_s=now_s))
            level.area += level.now * (now_s - level.since_s)
            level.since_s = now_s
            level.now += by
            level.most = max(level.most, level.now)

    def means(self) -> dict[str, float]:
        """Return the mean number of things in each queue, from the first change of any to now."""
        with self._lock:
            now_s = self.seconds()
            whole_s = now_s - (now_s if self._begin_s is None else self._begin_s)
            if whole_s <= 0:
                return dict.fromkeys(self._levels, 0.0)
            return {
                name: (level.area + level.now * (now_s - level.since_s)) / whole_s
                for name, level in self._levels.items()
            }
