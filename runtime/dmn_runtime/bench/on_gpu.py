"""Network and kernels alone on a GPU, by the marks of its stream, slab by slab."""

from dmn_runtime.bench.gathered import spread_blocks
from dmn_runtime.bench.rounds import Alone, Extent, Rate
from dmn_runtime.engines.base import BlockEngine, Engine
from dmn_runtime.gpu.engine import GpuEngine
from dmn_runtime.gpu.sheet import Slab
from dmn_runtime.gpu.slabs import cut_slabs
from dmn_runtime.plan import Block
from dmn_runtime.setup import Setup
from dmn_runtime.source import read_inside

BLOCKS = 8
"""Of a volume that are timed at most, evenly spread."""


def gpu_engine(engine: Engine | BlockEngine) -> GpuEngine | None:
    """Return the engine if it cuts the tiles on a GPU, None if it is one of the processor's."""
    return engine if isinstance(engine, GpuEngine) else None


def alone_on_gpu(engine: GpuEngine, setup: Setup) -> Alone:
    """Return the speed of network and kernels on the device, one stream, without graphs.

    Bytes of gather: the slab read and the batches written; of scatter: the cores' logits read and their
    probabilities written; each once.

    Args:
        engine: on the GPU.
        setup: of the run.
    """
    blocks = [setup.plan.block_at(index) for index in spread_blocks(len(setup.plan), BLOCKS)]
    slabs = [slab for block in blocks for slab in _slabs(engine, setup, block)]
    _timed(engine, setup, slabs[0])  # the first calls allocate
    spans = [_timed(engine, setup, slab) for slab in slabs]
    network_s, gather_s, scatter_s = (
        sum(span[stage] for span in spans) for stage in ("network", "gather", "scatter")
    )
    tiles = sum(len(slab.tiles) for slab in slabs)
    px, size = tiles * engine.share.edge_px**2, engine.runner.batch_dtype.itemsize
    channels = 2 * engine.footprint.context_slices + 1
    gathered = sum(slab.patch.size for slab in slabs) * setup.volume.dtype.itemsize + px * channels * size
    scattered = sum(slab.core.size for slab in slabs) * (size + 1)
    return Alone(
        Extent(sum(block.output.size for block in blocks), px, tiles),
        network_s,
        Rate(px / gather_s, gathered / gather_s),
        Rate(px / scatter_s, scattered / scatter_s),
    )


def _slabs(engine: GpuEngine, setup: Setup, block: Block) -> tuple[Slab, ...]:
    share, volume = engine.share, setup.plan.working_shape
    return cut_slabs(block.core, volume, engine.footprint, share.edge_px, share.slab_slices)


def _timed(engine: GpuEngine, setup: Setup, slab: Slab) -> dict[str, float]:
    return engine.timed(slab.core, read_inside(setup.volume.read, setup.plan, slab.patch))
