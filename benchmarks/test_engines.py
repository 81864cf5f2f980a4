"""The bare network, by every engine and precision that this machine can run: one worker, and all of them.

    .venv/bin/python -m pytest benchmarks/test_engines.py -rs

What cannot run here is skipped, with the reason (-rs shows it). The input is the package's own golden tissue,
already in memory as the network takes it; pixels of the working grid are counted, halo included, and nothing
is resampled, gathered, scattered or written. Whether the answers are right is `dmn verify`'s question.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from dmn_runtime.certificate.golden import read_golden
from dmn_runtime.engines.base import Tiles
from dmn_runtime.engines.candidates import Candidate
from dmn_runtime.engines.catalogue import KINDS, kind_of
from dmn_runtime.engines.examination import Wish, opened, order_for, timed_tile
from dmn_runtime.errors import DmnError
from dmn_runtime.machine import logical_cores
from dmn_runtime.package import Package, open_package, resolve_package
from dmn_runtime.words import counted

from .material import SIZE, TINY, carry

CANDIDATES = [Candidate(kind.word, precision) for kind in KINDS for precision in kind.precisions]


@pytest.fixture(scope="module")
def opened_package(package: str) -> Package:
    return open_package(resolve_package(package))


@pytest.fixture(params=CANDIDATES, ids=str)
def able(request: pytest.FixtureRequest, opened_package: Package) -> Candidate:
    """Return one engine and precision, or skip with the reason why it cannot run."""
    one: Candidate = request.param
    kind = kind_of(one.engine)
    absence = kind.absence()
    if absence is not None:
        pytest.skip(f"{one.engine}: {absence}")
    if not kind.has(one.precision):
        pytest.skip(f"{one}: this processor does not have that arithmetic")
    if one.precision not in opened_package.contract.precisions:
        pytest.skip(f"{one}: the package does not hold that precision")
    return one


@pytest.fixture
def pool(workers: int) -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(workers) as threads:
        yield threads


@pytest.mark.parametrize("workers", sorted({1, logical_cores()}))
def test_bare_network(
    benchmark: BenchmarkFixture,
    pool: ThreadPoolExecutor,
    opened_package: Package,
    able: Candidate,
    workers: int,
) -> None:
    benchmark.group = f"engines: {opened_package.contract.name}, bare network, {counted(workers, 'worker')}"
    wish = Wish(workers=workers, tile_px=SIZE.tile_px if SIZE is TINY else None)
    order = order_for(opened_package, able, wish, print)
    runner = opened(able, order)
    if isinstance(runner, DmnError):
        raise runner
    try:
        tile = timed_tile(read_golden(opened_package), order, able)
        calls = [tile] * (SIZE.calls * workers)

        def run() -> list[Tiles]:
            return list(pool.map(runner.run, calls))

        # The first round starts the threads and lets the library choose and allocate.
        found = benchmark.pedantic(run, rounds=SIZE.rounds, warmup_rounds=1)
        assert {one.shape[0] for one in found} == {tile.shape[0]}
    finally:
        runner.close()
    carry(
        benchmark,
        len(calls) * tile[:, 0].size,
        engine=able.engine,
        precision=able.precision,
        runner=runner.description,
        workers=workers,
        tile_nchw=list(tile.shape),
    )
