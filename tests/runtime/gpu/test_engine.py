"""The GPU engine on the fake device, with the real kernels: the CPU's answer, nothing left behind."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from by_file import imported
from dmn_runtime.clock import Clock, Occupancy
from dmn_runtime.engines.cpu import open_cpu_engine
from dmn_runtime.errors import EngineError, GpuMemoryError, ResumeError
from dmn_runtime.geometry import Region, Triple
from dmn_runtime.gpu.engine import GpuEngine, open_gpu_engine, shared_out
from dmn_runtime.gpu.kernels import open_kernels
from dmn_runtime.gpu.lane import STAGES, Buffers
from dmn_runtime.gpu.memory_plan import Need, output_bytes, patch_bytes, taken_bytes
from dmn_runtime.normalise import IntensityMap
from dmn_runtime.plan import Footprint, Plan, make_plan
from dmn_runtime.source import mirrored_inside, read_inside, read_working
from dmn_runtime.stream import ByBlock, ByTile, Steps, Threads, run_stream

Network = Callable[[int], tuple[bytes, Footprint]]


def _double(name: str) -> ModuleType:
    return imported(Path(__file__).with_name(f"{name}.py"))


def device_of(**settings: Any) -> Any:
    device = _double("numpy_device").NumpyDevice(**settings)
    device.make_current()
    return device


def runner_of(device: Any, network: bytes, **changes: Any) -> Any:
    return _double("device_network").FakeDeviceRunner(device, network, **changes)


class Bench:
    """A volume in memory, segmented on the CPU tile by tile and on the fake device block by block."""

    def __init__(
        self,
        small_network: Network,
        shape: Triple = (5, 37, 29),
        context: int = 1,
        dtype: Any = np.uint8,
        block: Triple = (4, 24, 24),
        tile_px: int = 16,
        working_nm: float | None = None,
    ) -> None:
        self.network, self.footprint = small_network(context)
        self.voxels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)
        self.plan: Plan = make_plan(
            shape, (1, 1, 1), working_nm, self.footprint, tile_px=tile_px, block=block, grid="working"
        )
        self.table = IntensityMap(0.0, float(np.iinfo(dtype).max), 2.0).table(self.voxels.dtype)
        self.said: list[str] = []
        self.clock = Clock()

    def read(self, region: Region) -> np.ndarray:
        return self.voxels[region.slices].copy()

    def need(self, **changes: Any) -> Need:
        core = self.plan.block_at(0).core.shape
        edge = self.plan.tile[1] + 2 * self.footprint.halo_px
        channels = 2 * self.footprint.context_slices + 1
        need = Need(self.footprint, channels, 16, 4, self.voxels.dtype.itemsize, core, edge)
        return replace(need, **changes)

    def engine(self, runner: Any, **changes: Any) -> GpuEngine:
        kernels = open_kernels(runner.device)
        return open_gpu_engine(
            "cuda", "fp32", runner, kernels, self.table, self.plan.working_shape, self.need(**changes),
            self.clock, self.said.append,
        )  # fmt: skip

    def on_device(self, engine: GpuEngine, workers: int = 2) -> np.ndarray:
        def read(block: Any) -> Any:
            return read_inside(self.read, self.plan, mirrored_inside(block.read, self.plan.working_shape))

        return self._run(ByBlock(engine), read, workers)

    def on_cpu(self) -> np.ndarray:
        engine = open_cpu_engine(self.network, self.table, self.footprint)
        work = ByTile(engine, self.plan)
        return self._run(work, lambda block: read_working(self.read, self.plan, block.read), 1)

    def _run(self, work: Any, read: Callable[[Any], Any], workers: int) -> np.ndarray:
        out = np.full(self.plan.output_shape, 77, np.uint8)

        def write(block: Any, probability: np.ndarray) -> None:
            out[block.output.slices] = probability

        steps = Steps(read, write, lambda _: None)
        run_stream(self.plan, range(len(self.plan)), work, steps, Threads(1, workers, 1, 4), Occupancy())
        return out


def agree(found: np.ndarray, expected: np.ndarray) -> None:
    assert np.abs(found.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("graphs", [True, False])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_run_ends_as_on_the_cpu(small_network: Network, graphs: bool, dtype: Any) -> None:
    bench, device = Bench(small_network, dtype=dtype), device_of(has_graphs=graphs)
    engine = bench.engine(runner_of(device, bench.network))
    assert engine.share.batch > 1
    agree(bench.on_device(engine), bench.on_cpu())
    if graphs:  # a graph for every lane that got work, and which lanes do is the scheduler's chance
        assert 1 <= len(device.graphs) <= engine.share.lanes
    else:
        assert device.graphs == []
    engine.close()
    device.check_empty()
    assert bench.said == []
    assert set(bench.clock.busy_s) >= {"stage", "device"}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 40), st.integers(1, 40)),
    context=st.integers(0, 2),
    block=st.sampled_from([(2, 16, 16), (4, 256, 256), (3, 24, 10)]),
    tile_px=st.sampled_from([4, 16, 256]),
    seed=st.integers(0, 99),
    free=st.sampled_from([1 << 28, 1 << 21, 3 << 18]),
)
def test_any_shape_any_memory_any_order(
    small_network: Network, shape: Triple, context: int, block: Triple, tile_px: int, seed: int, free: int
) -> None:
    bench = Bench(small_network, shape, context, block=block, tile_px=tile_px)
    device = device_of(seed=seed, most_bytes=free)
    try:
        engine = bench.engine(runner_of(device, bench.network))
    except EngineError:  # one tile of 268 px does not fit the smallest memory
        assert free < 1 << 21
        device.check_empty()
        return
    agree(bench.on_device(engine, workers=3), bench.on_cpu())
    engine.close()
    device.check_empty()


def test_a_second_look_is_the_same(small_network: Network) -> None:
    bench, device = Bench(small_network), device_of()
    engine = bench.engine(runner_of(device, bench.network))
    block = bench.plan.block_at(0)
    patch = read_working(bench.read, bench.plan, block.read)
    expected = np.empty(block.core.shape, np.uint8)
    engine.segment_block(block, bench.read(mirrored_inside(block.read, bench.plan.working_shape)), expected)
    agree(engine.segment(patch)[tuple(slice(0, n) for n in expected.shape)], expected)
    engine.close()


def test_half_precision(small_network: Network) -> None:
    bench, device = Bench(small_network), device_of()
    engine = bench.engine(runner_of(device, bench.network, batch_dtype=np.dtype(np.float16)), itemsize=2)
    found, expected = bench.on_device(engine), bench.on_cpu()
    assert np.abs(found.astype(int) - expected).max() <= 3
    engine.close()
    device.check_empty()


def test_a_plan_of_one_size_pads(small_network: Network) -> None:
    bench, device = Bench(small_network), device_of()
    edge = bench.plan.tile[1] + 2 * bench.footprint.halo_px
    runner = runner_of(device, bench.network, fixed_shape=(3, 3, edge, edge), most_bound=1)
    engine = bench.engine(runner)
    assert (engine.share.batch, engine.share.lanes, engine.share.edge_px) == (3, 1, edge)
    agree(bench.on_device(engine), bench.on_cpu())
    engine.close()
    device.check_empty()


def test_buffers_grow_where_a_block_is_larger_than_was_said(small_network: Network) -> None:
    bench, device = Bench(small_network, shape=(9, 37, 29)), device_of()
    engine = bench.engine(runner_of(device, bench.network, most_bound=1), block=(2, 4, 4))
    small = np.zeros((4, 20, 20), np.uint8)
    engine.segment(small)  # captures a graph, whose addresses are not those of the blocks to come
    engine.segment(small)
    assert len(device.graphs) == 1
    agree(bench.on_device(engine), bench.on_cpu())
    engine.close()
    device.check_empty()


def test_memory_that_is_short_halves_the_batch_aloud(small_network: Network) -> None:
    bench, device = Bench(small_network), device_of()
    # The library takes more than the planner knows of: the second lane's batch is refused, then all fits.
    device.refusals["device_memory"] = [*[None] * 7, GpuMemoryError("the GPU has no 99 bytes left")]
    engine = bench.engine(runner_of(device, bench.network))
    before = Bench(small_network).engine(runner_of(device_of(), bench.network)).share
    assert engine.share.batch == before.batch // 2
    [said] = bench.said
    assert said == (
        f"the GPU has no 99 bytes left; goes on with batches of {before.batch // 2} on {before.lanes} "
        f"streams instead of batches of {before.batch} on {before.lanes} streams"
    )
    agree(bench.on_device(engine), bench.on_cpu())
    engine.close()
    device.check_empty()


def test_memory_that_is_short_for_one_tile_is_an_error(small_network: Network) -> None:
    bench, device = Bench(small_network), device_of()
    device.refusals["device_memory"] = [None] + [GpuMemoryError("the GPU is full")] * 99
    with pytest.raises(GpuMemoryError, match="the GPU is full"):
        bench.engine(runner_of(device, bench.network))
    assert len(bench.said) == 5  # batches of 4, 2 and 1, then fewer streams
    device.check_empty()


def test_memory_that_is_short_for_what_a_run_was_begun_with_is_an_error(small_network: Network) -> None:
    bench, device = Bench(small_network), device_of()
    device.refusals["device_memory"] = [None] + [GpuMemoryError("the GPU is full: buy another")] * 99
    with pytest.raises(ResumeError) as refused:
        bench.engine(runner_of(device, bench.network), batch=2)
    assert str(refused.value).startswith(
        "the GPU is full, and this run was begun with batches of 2 tiles of 28 px, which must stay"
    )
    assert len(bench.said) == 2  # fewer streams, never another batch
    device.check_empty()


def test_a_run_that_is_resumed_takes_its_batch_and_edge(small_network: Network) -> None:
    bench, device = Bench(small_network), device_of()
    engine = bench.engine(runner_of(device, bench.network), batch=3, edge_px=20)
    assert (engine.share.batch, engine.share.edge_px) == (3, 20)
    agree(bench.on_device(engine), bench.on_cpu())
    engine.close()
    device.check_empty()


def test_a_plan_that_is_loaded_fits_where_its_activations_would_not(small_network: Network) -> None:
    bench = Bench(small_network)
    edge = bench.plan.tile[1] + 2 * bench.footprint.halo_px
    # A network that is said to write a gigabyte for a batch; a lane takes patch and output.
    need = bench.need(values_per_px=1 << 16)
    lane = patch_bytes(need, 4) + output_bytes(need, 4)
    runner = runner_of(device_of(), bench.network, fixed_shape=(8, 3, edge, edge), most_bound=2)
    share = shared_out(runner, need, 3 * lane)
    assert (share.batch, share.lanes, share.slab_slices, share.nbytes) == (8, 2, 4, 2 * lane)


def test_a_plan_keeps_its_batch_where_memory_is_short_after_all(small_network: Network) -> None:
    bench, device = Bench(small_network), device_of()
    edge = bench.plan.tile[1] + 2 * bench.footprint.halo_px
    device.refusals["device_memory"] = [None, GpuMemoryError("full")]
    engine = bench.engine(runner_of(device, bench.network, fixed_shape=(4, 3, edge, edge), most_bound=2))
    assert (engine.share.batch, engine.share.lanes) == (4, 1)
    engine.close()
    device.check_empty()


def test_what_was_planned_is_told_of_the_share_that_was_taken(small_network: Network) -> None:
    bench, device = Bench(small_network), device_of()
    device.refusals["device_memory"] = [*[None] * 7, GpuMemoryError("the GPU has no 99 bytes left")]
    engine = bench.engine(runner_of(device, bench.network))
    share = engine.share
    assert share.nbytes == taken_bytes(
        bench.need(), share.edge_px, share.batch, share.lanes, share.slab_slices
    )
    engine.close()


@pytest.mark.parametrize("side", ["device_memory", "host_memory"])
def test_memory_that_is_short_while_buffers_grow_leaves_none_half_made(
    small_network: Network, side: str
) -> None:
    bench, device = Bench(small_network, shape=(9, 37, 29)), device_of()
    engine = bench.engine(runner_of(device, bench.network, most_bound=1), block=(2, 4, 4))
    small = np.zeros((4, 20, 20), np.uint8)
    engine.segment(small)
    expected = engine.segment(small)
    device.refusals[side] = [None, GpuMemoryError("full")]  # the patch grows, the output does not
    with pytest.raises(GpuMemoryError, match="full"):
        engine.segment(np.zeros((6, 40, 40), np.uint8))
    np.testing.assert_array_equal(engine.segment(small), expected)
    agree(bench.on_device(engine), bench.on_cpu())
    engine.close()
    device.check_empty()


def test_a_side_that_is_refused_gives_the_other_back() -> None:
    device = device_of()
    buffers = Buffers(device)
    device.refusals["host_memory"] = [GpuMemoryError("full")]
    with pytest.raises(GpuMemoryError, match="full"):
        buffers.fit(100)
    device.check_empty()
    assert not buffers.holds(1)
    buffers.fit(100)
    assert buffers.holds(100)
    buffers.close()
    device.check_empty()


def test_no_more_lanes_than_the_network_has_contexts(small_network: Network) -> None:
    bench = Bench(small_network)
    runner = runner_of(device_of(), bench.network, most_bound=1)
    assert shared_out(runner, bench.need(), 1 << 30).lanes == 1


@pytest.mark.parametrize("at", ["launch", "graph", "synchronise"])
def test_an_error_of_the_device_comes_out_and_nothing_stays(small_network: Network, at: str) -> None:
    # An error while a graph is captured is another matter, below.
    bench, device = Bench(small_network), device_of(has_graphs=at != "launch")
    engine = bench.engine(runner_of(device, bench.network))
    device.refusals[at] = [None, EngineError("the GPU fell off")]
    with pytest.raises(EngineError, match="the GPU fell off"):
        bench.on_device(engine)
    engine.close()
    device.check_empty()


def test_a_network_that_fails_comes_out_and_nothing_stays(small_network: Network) -> None:
    bench, device = Bench(small_network), device_of()
    runner = runner_of(device, bench.network, capturable=False)
    engine = bench.engine(runner)
    runner.fail_at = 2
    with pytest.raises(EngineError, match="the library refuses"):
        bench.on_device(engine)
    engine.close()
    device.check_empty()


def test_the_first_batch_of_a_lane_is_no_graph(small_network: Network) -> None:
    bench, device = Bench(small_network), device_of()
    runner = runner_of(device, bench.network, most_bound=1)
    engine = bench.engine(runner)
    bench.on_device(engine)
    # Once to take memory, once directly, since drivers load a kernel at its first launch, once captured.
    assert runner.bound[0].calls == 3
    engine.close()


def test_work_that_cannot_be_captured_runs_without_a_graph_aloud(small_network: Network) -> None:
    bench, device = Bench(small_network), device_of()
    device.refusals["capture"] = [EngineError("the work cannot be captured")]
    engine = bench.engine(runner_of(device, bench.network, most_bound=1))
    agree(bench.on_device(engine), bench.on_cpu())
    assert bench.said == ["without CUDA graphs, which is a little slower: the work cannot be captured"]
    assert device.graphs == []
    engine.close()
    device.check_empty()


def test_many_threads_share_the_lanes(small_network: Network) -> None:
    bench, device = Bench(small_network, shape=(8, 24, 24)), device_of(seed=5)
    engine = bench.engine(runner_of(device, bench.network))
    block = bench.plan.block_at(0)
    patch = bench.read(mirrored_inside(block.read, bench.plan.working_shape))

    def call(_: int) -> np.ndarray:
        out = np.empty(block.core.shape, np.uint8)
        engine.segment_block(block, patch, out)
        return out

    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(call, range(12)))
    assert all((result == results[0]).all() for result in results)
    engine.close()
    device.check_empty()


def test_the_stages_on_the_device_are_timed(small_network: Network) -> None:
    bench, device = Bench(small_network), device_of()
    engine = bench.engine(runner_of(device, bench.network))
    core = bench.plan.block_at(0).core
    found = engine.timed(core, bench.read(engine.slab_of(core).patch))
    assert tuple(found) == STAGES
    assert all(seconds > 0 for seconds in found.values())
    engine.close()
    device.check_empty()
