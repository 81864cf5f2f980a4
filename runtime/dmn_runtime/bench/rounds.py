"""What is measured in one round, and the figures that follow from all rounds: pure arithmetic."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dmn_runtime.bench.figure import Figure, figure_of
from dmn_runtime.report import GpuFacts


@dataclass(frozen=True)
class Rate:
    """Speed of a kernel, all threads together.

    `px_per_s`: pixels of the network's tiles, halo included; `bytes_per_s`: read and written.
    """

    px_per_s: float
    bytes_per_s: float


@dataclass(frozen=True)
class Ceilings:
    """What the machine can do at most; see docs/bench.md.

    None is what was not measured.

    Attributes:
        copy_bytes_per_s: of a large copy, bytes read and bytes written.
        matmul_1_thread_macs_per_s: multiply-adds per second of a large float32 matrix product by NumPy.
        matmul_all_threads_macs_per_s: the same with all threads.
        engine_matmul_macs_per_s: of large matrix products by the engine itself, in its own arithmetic.
    """

    copy_bytes_per_s: float | None
    matmul_1_thread_macs_per_s: float | None
    matmul_all_threads_macs_per_s: float | None
    engine_matmul_macs_per_s: float | None = None


@dataclass(frozen=True)
class Extent:
    """What the network alone was run on: output voxels, pixels of its tiles with halo, and tiles."""

    voxels: int
    px: int
    tiles: int


@dataclass(frozen=True)
class Alone:
    """Network and kernels, each alone: `network_only_s` for all of `extent`."""

    extent: Extent
    network_only_s: float
    gather: Rate
    scatter: Rate


@dataclass(frozen=True)
class EndToEnd:
    """One whole run: voxels of the output, seconds, and what `Report` says of stages, queues and GPU."""

    voxels: int
    wall_s: float
    first_tile_s: float
    busy_s: dict[str, float]
    queues: dict[str, float]
    gpu: GpuFacts | None = None


@dataclass(frozen=True)
class Round:
    """All that is measured in one round; `ceilings` is None where they could not be measured."""

    network_only_s: float
    gather: Rate
    scatter: Rate
    end_to_end: EndToEnd
    ceilings: Ceilings | None


def figures_of(
    rounds: Sequence[Round], extent: Extent, multiply_adds_per_px: float | None
) -> dict[str, Figure]:
    """Return every figure; one that some round lacks is left out.

    Args:
        rounds: at least one.
        extent: of the network alone.
        multiply_adds_per_px: of the network, None where the package does not state them.
    """
    by_engine = all(_engine_product(one) is not None for one in rounds)
    formulas = _formulas(extent, multiply_adds_per_px, by_engine=by_engine)
    values = {name: [formula(one) for one in rounds] for name, formula in formulas.items()}
    return {
        name: figure_of(value for value in found if value is not None)
        for name, found in values.items()
        if None not in found
    }


def _engine_product(one: Round) -> float | None:
    return None if one.ceilings is None else one.ceilings.engine_matmul_macs_per_s


def _formulas(
    extent: Extent, multiply_adds_per_px: float | None, *, by_engine: bool
) -> dict[str, Callable[[Round], float | None]]:
    voxels_a_px = extent.voxels / extent.px

    def macs(one: Round) -> float | None:
        return None if multiply_adds_per_px is None else extent.px * multiply_adds_per_px / one.network_only_s

    def copy(one: Round) -> float | None:
        return None if one.ceilings is None else one.ceilings.copy_bytes_per_s

    def product(one: Round) -> float | None:
        return None if one.ceilings is None else one.ceilings.matmul_all_threads_macs_per_s

    def product_1(one: Round) -> float | None:
        return None if one.ceilings is None else one.ceilings.matmul_1_thread_macs_per_s

    def network(one: Round) -> float:
        return extent.voxels / one.network_only_s

    def whole(one: Round) -> float:
        return one.end_to_end.voxels / one.end_to_end.wall_s

    return {
        "network_only_voxels_per_s": network,
        "network_only_px_per_s": lambda one: extent.px / one.network_only_s,
        "gather_voxels_per_s": lambda one: one.gather.px_per_s * voxels_a_px,
        "scatter_voxels_per_s": lambda one: one.scatter.px_per_s * voxels_a_px,
        "end_to_end_voxels_per_s": whole,
        "end_to_end_percent_of_network_only": lambda one: _percent(whole(one), network(one)),
        "first_tile_s": lambda one: one.end_to_end.first_tile_s,
        "copy_bytes_per_s": copy,
        "gather_bytes_per_s": lambda one: one.gather.bytes_per_s,
        "gather_percent_of_copy": lambda one: _percent(one.gather.bytes_per_s, copy(one)),
        "scatter_bytes_per_s": lambda one: one.scatter.bytes_per_s,
        "scatter_percent_of_copy": lambda one: _percent(one.scatter.bytes_per_s, copy(one)),
        "engine_matmul_macs_per_s": _engine_product,
        "matmul_1_thread_macs_per_s": product_1,
        "matmul_all_threads_macs_per_s": product,
        "network_macs_per_s": macs,
        "network_percent_of_engine_matmul": lambda one: _percent(macs(one), _engine_product(one)),
        # NumPy's stands in only where the engine's own was not measured.
        "network_percent_of_matmul": lambda one: None if by_engine else _percent(macs(one), product(one)),
    }


def _percent(part: float | None, whole: float | None) -> float | None:
    return None if part is None or whole is None else 100.0 * part / whole
