"""The cache of decoded segments: bounded in bytes, each decoded once, errors reach everybody."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import product
from threading import Event

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmn_runtime.geometry import Region, Triple
from dmn_runtime.volume import decoded_cache
from dmn_runtime.volume.decoded_cache import DecodedCache
from dmn_runtime.volume.tiff_stack import SegmentGrid, walk_bytes


def of(key: int) -> np.ndarray:
    return np.full(10, key, np.uint8)


@given(keys=st.lists(st.integers(0, 8)), limit=st.integers(0, 60))
def test_never_holds_more_than_its_limit(keys: list[int], limit: int) -> None:
    cache: DecodedCache[int] = DecodedCache(limit)
    for key, array in cache.each(keys, of):
        assert array.tolist() == [key] * 10
        assert cache.held_bytes <= limit


def test_least_recently_used_goes_first() -> None:
    cache: DecodedCache[int] = DecodedCache(20)
    decoded: list[int] = []
    for key in (1, 2, 1, 3, 1, 2):
        cache.get(key, lambda k: (decoded.append(k), of(k))[1])
    assert decoded == [1, 2, 3, 2]
    cache.clear()
    assert cache.held_bytes == 0


def test_too_large_is_handed_on_and_not_kept() -> None:
    cache: DecodedCache[int] = DecodedCache(15)
    cache.get(1, of)
    assert cache.get(2, lambda _: np.zeros(16, np.uint8)).size == 16
    assert cache.held_bytes == 10
    assert cache.get(1, lambda _: np.ones(1)).tolist() == [1] * 10


def test_a_reader_passes_by_what_another_decodes() -> None:
    """Thread A is inside key 0; B takes 1 and 2 first and gets 0 from A, decoded once."""
    cache: DecodedCache[int] = DecodedCache()
    inside, go_on = Event(), Event()
    decoded: list[int] = []

    def slow(key: int) -> np.ndarray:
        decoded.append(key)
        inside.set()
        assert go_on.wait(10)
        return of(key)

    def quick(key: int) -> np.ndarray:
        decoded.append(key)
        if key == 2:
            go_on.set()
        return of(key)

    with ThreadPoolExecutor(1) as pool:
        a = pool.submit(cache.get, 0, slow)
        assert inside.wait(10)
        assert [key for key, _ in cache.each([0, 1, 2], quick)] == [1, 2, 0]
        assert a.result().tolist() == [0] * 10
    assert decoded == [0, 1, 2]


def test_an_error_reaches_those_who_wait_and_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    inside, waited_for = Event(), Event()

    class Watched(Future[np.ndarray]):
        def result(self, timeout: float | None = None) -> np.ndarray:
            waited_for.set()
            return Future.result(self, timeout)

    monkeypatch.setattr(decoded_cache, "Future", Watched)
    cache: DecodedCache[int] = DecodedCache()

    def fail(_: int) -> np.ndarray:
        inside.set()
        assert waited_for.wait(10)
        raise ValueError("damaged")

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(cache.get, 0, fail)
        assert inside.wait(10)
        with pytest.raises(ValueError, match="damaged"):
            cache.get(0, of)
        assert isinstance(first.exception(), ValueError)
    assert cache.get(0, of).tolist() == [0] * 10


def test_room_is_made_up_to_the_cap_and_never_taken_back() -> None:
    cache: DecodedCache[int] = DecodedCache(10, 30)
    held = []
    for wanted in (20, 10, 1000):
        cache.make_room(wanted)
        for key in range(5):
            cache.get(key, of)
        held.append(cache.held_bytes)
    assert held == [20, 20, 30]


def test_walk_bytes() -> None:
    """Two slices of 100 x 50 px; rows 25 to 44 lie in strips 2 to 4 of 10 rows."""
    region = Region((3, 25, 0), (5, 45, 20))
    assert walk_bytes(SegmentGrid((100, 50), (10, 50)), region, 2) == 2 * (100 + 30) * 50 * 2
    assert walk_bytes(SegmentGrid((100, 50), (100, 50)), region, 2) == 2 * 100 * 50 * 2


def block_walk(shape: Triple, block: Triple, margin: Triple) -> Iterator[Region]:
    """Yield what the runtime reads: blocks with their margin, x fastest, then y, then z."""
    for corner in product(*(range(0, n, b) for n, b in zip(shape, block, strict=True))):
        start = [max(c - m, 0) for c, m in zip(corner, margin, strict=True)]
        stop = [min(c + b + m, n) for c, b, m, n in zip(corner, block, margin, shape, strict=True)]
        yield Region((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))


SMALL = st.tuples(st.integers(1, 12), st.integers(1, 12), st.integers(1, 12))


@given(
    shape=SMALL,
    segment=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    block=st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 6)),
    margin=st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)),
)
def test_a_walk_over_blocks_decodes_every_segment_once(
    shape: Triple, segment: tuple[int, int], block: Triple, margin: Triple
) -> None:
    grid = SegmentGrid(shape[1:], segment)
    cache: DecodedCache[tuple[int, int]] = DecodedCache(0)
    decoded: list[tuple[int, int]] = []

    def decode(key: tuple[int, int]) -> np.ndarray:
        decoded.append(key)
        top, left = grid.origin(key[1])
        return np.zeros((min(segment[0], shape[1] - top), min(segment[1], shape[2] - left)), np.uint8)

    for region in block_walk(shape, block, margin):
        cache.make_room(walk_bytes(grid, region, 1))
        keys = product(range(region.start[0], region.stop[0]), tuple(grid.covering(region)))
        for _ in cache.each(keys, decode):
            pass
    assert sorted(decoded) == list(product(range(shape[0]), range(grid.count)))
