"""Decoded strips, tiles and slices, kept up to a number of bytes and decoded once for all threads."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import Future
from threading import Lock
from typing import Any, Generic, TypeVar, final

from numpy.typing import NDArray

Key = TypeVar("Key", bound=Hashable)
Array = NDArray[Any]

CACHE_BYTES = 64 * 2**20
"""Kept whatever is read."""
CACHE_CAP_BYTES = 2**30
"""Never exceeded, however large the slices are."""


@final
class DecodedCache(Generic[Key]):
    """Least recently used arrays, bounded in bytes; thread safe.

    Blocks of one slab read the same strips. While one thread decodes a strip, another that wants it goes on
    with its own and comes back, so that threads share the work and no strip is decoded by two at once.
    """

    def __init__(self, limit_bytes: int = CACHE_BYTES, cap_bytes: int = CACHE_CAP_BYTES) -> None:
        """Keep at most `limit_bytes`, and once `make_room` asks for more at most `cap_bytes`.

        A larger array is handed on and not kept.
        """
        self._limit = limit_bytes
        self._cap = cap_bytes
        self._held = 0
        self._kept: OrderedDict[Key, Array] = OrderedDict()
        self._pending: dict[Key, Future[Array]] = {}
        self._lock = Lock()

    @property
    def held_bytes(self) -> int:
        """Bytes of the arrays that are kept."""
        return self._held

    def make_room(self, wanted_bytes: int) -> None:
        """Raise the limit to `wanted_bytes`, or to the cap; it is never lowered."""
        with self._lock:
            self._limit = max(self._limit, min(wanted_bytes, self._cap))

    def each(self, keys: Iterable[Key], decode: Callable[[Key], Array]) -> Iterator[tuple[Key, Array]]:
        """Yield every key with its array, those that other threads are decoding last.

        The arrays are shared: read them, never write to them.
        """
        waiting = []
        for key in keys:
            # Asked without the lock: a wrong guess costs a wait, never a wrong array.
            if key in self._pending:
                waiting.append(key)
            else:
                yield key, self.get(key, decode)
        for key in waiting:
            yield key, self.get(key, decode)

    def get(self, key: Key, decode: Callable[[Key], Array]) -> Array:
        """Return the array of `key`, decoding it if it is neither kept nor being decoded."""
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None:
                self._kept.move_to_end(key)
                return kept
            other = self._pending.get(key)
            if other is None:
                mine: Future[Array] = Future()
                self._pending[key] = mine
        if other is not None:
            return other.result()
        try:
            array = decode(key)
        except BaseException as error:
            self._settle(key, None)
            mine.set_exception(error)
            raise
        self._settle(key, array)
        mine.set_result(array)
        return array

    def clear(self) -> None:
        """Let go of every array."""
        with self._lock:
            self._kept.clear()
            self._held = 0

    def _settle(self, key: Key, array: Array | None) -> None:
        with self._lock:
            del self._pending[key]
            if array is None or array.nbytes > self._limit:
                return
            self._kept[key] = array
            self._held += array.nbytes
            while self._held > self._limit:
                _, dropped = self._kept.popitem(last=False)
                self._held -= dropped.nbytes
