"""Everything about a run that is decided before its first block is read."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite, prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dmn_runtime._version import __version__
from dmn_runtime.axis_order import order_doubt
from dmn_runtime.contract import QUANTILE_PERCENTS, Contract
from dmn_runtime.drift import intensity_drift
from dmn_runtime.engines.choose import Choice
from dmn_runtime.engines.examination import Wish
from dmn_runtime.errors import PlanError, UsageError
from dmn_runtime.geometry import Spacing, Triple
from dmn_runtime.gpu.memory_plan import BatchShape
from dmn_runtime.machine import logical_cores, memory_bytes
from dmn_runtime.normalise import IntensityMap, fit_map, histogram, quantiles
from dmn_runtime.package import Package
from dmn_runtime.plan import Footprint, Grid, Plan, make_plan
from dmn_runtime.sink.base import SinkSpec
from dmn_runtime.sink.ledger import LedgerHeader
from dmn_runtime.sink.paths import final_paths
from dmn_runtime.stream import Threads, in_flight_bytes, threads_for
from dmn_runtime.volume.base import Volume

ENGINE_KEY = "candidate"
"""In the ledger: engine and precision, and on a GPU batch and edge, so that a resumed run takes the same."""


@dataclass(frozen=True)
class Options:
    """What the user asked for; the words of `dmn infer`.

    `threshold` None takes the package's; `workers` None takes one for each CPU core; `intensity` None takes
    the grey values that become -1 and 1 from a sample of the volume.
    """

    package: str
    volume: str
    output: Path
    voxel_nm: Spacing | None = None
    grid: Grid = "volume"
    tile_px: int | None = None
    block: Triple | None = None
    workers: int | None = None
    threshold: float | None = None
    engine: str = "auto"
    precision: str = "auto"
    strict: bool = False
    resume: bool = False
    overwrite: bool = False
    check_seams: bool = False
    intensity: tuple[float, float] | None = None


@dataclass(frozen=True)
class Layout:
    """What is decided before an engine is looked for: grids, blocks, tiles, intensities."""

    plan: Plan
    counts: NDArray[np.int64]
    intensity: IntensityMap


@dataclass(frozen=True)
class Setup:
    """Everything that is decided before the first block is read.

    `begun`: what goes through a GPU in one call, where the run is resumed and it is given.
    """

    options: Options
    package: Package
    volume: Volume
    counts: NDArray[np.int64]
    intensity: IntensityMap
    plan: Plan
    threshold: float
    workers: int
    choice: Choice
    spec: SinkSpec
    begun: BatchShape | None = None

    @property
    def output_share(self) -> float:
        """Output voxels for each working voxel, on average."""
        return prod(self.plan.output_shape) / prod(self.plan.working_shape)


def refuse_input_as_output(options: Options) -> None:
    """Keep --overwrite from replacing the very volume that is read."""
    read = _real(options.volume.partition("::")[0])
    for final in final_paths(options.output):
        written = _real(final)
        if written == read or written in read.parents or read in written.parents:
            raise UsageError(
                f"{options.output} is, holds or lies in the volume that is read: choose another output"
            )


def _real(path: str | Path) -> Path:
    # realpath, unlike Path.resolve, does not raise on a loop of links; who opens the path says what is wrong.
    return Path(os.path.realpath(path))


def engine_wish(options: Options) -> Wish:
    """Return what the options say of the engine.

    Raises:
        UsageError: fewer than one worker.
    """
    workers = logical_cores() if options.workers is None else options.workers
    if workers < 1:
        raise UsageError(f"--workers {workers} cannot work: give at least 1")
    return Wish(options.engine, options.precision, workers, options.tile_px, options.strict)


def lay_out(options: Options, contract: Contract, volume: Volume, workers: int) -> Layout:
    """Decide plan and intensity map, and refuse what can be refused before engines are examined.

    Raises:
        DmnError: an option makes no sense, or the volume does not say its voxel size or is constant.
    """
    plan = plan_of(options, contract, volume, workers)
    counts = histogram(volume)
    return Layout(plan, counts, intensity_of(options, contract, counts, volume.path))


def plan_of(options: Options, contract: Contract, volume: Volume, workers: int) -> Plan:
    """Lay out blocks and tiles.

    Raises:
        DmnError: an option makes no sense, the volume does not say its voxel size, or memory is too small.
    """
    if options.threshold is not None and not 0.0 < options.threshold < 1.0:
        raise UsageError(
            f"--threshold {options.threshold:g} is no probability: give a number between 0 and 1"
        )
    plan = make_plan(
        volume.shape,
        known_voxel_nm(volume, contract),
        contract.working_voxel_nm,
        Footprint(contract.stride_px, contract.halo_px, contract.context_slices),
        grid=options.grid,
        tile_px=options.tile_px,
        block=options.block,
    )
    require_memory(plan, volume, threads_for(workers))
    return plan


def intensity_of(options: Options, contract: Contract, counts: NDArray[np.int64], path: str) -> IntensityMap:
    """Return the map that the user gave, else the one of a sample.

    Args:
        options: the user's words.
        contract: of the package: says how a sample becomes a map.
        counts: histogram of the sample (`normalise.histogram`).
        path: of the volume, for people.

    Raises:
        DmnError: --intensity is no range of the volume's grey values, or the sample is constant.
    """
    if options.intensity is None:
        return fit_map(counts, contract.normalisation, path)
    refuse_intensity(options)
    low, high = options.intensity
    most = len(counts) - 1
    if low >= most or high <= 0:
        raise UsageError(
            f"--intensity {low:g},{high:g} lies outside the grey values of {path} (0 to {most}): give those "
            "that are to become the network's -1 and 1"
        )
    return IntensityMap(low, high, contract.normalisation.clip)


def refuse_intensity(options: Options) -> None:
    """Refuse a range of grey values that is none, whatever the volume.

    Raises:
        UsageError: says so.
    """
    low, high = options.intensity or (0.0, 1.0)
    if not (isfinite(low) and isfinite(high) and low < high):
        raise UsageError(
            f"--intensity {low:g},{high:g} is no range of grey values: give LOW,HIGH, LOW < HIGH"
        )


def set_up(
    options: Options,
    package: Package,
    volume: Volume,
    layout: Layout,
    choice: Choice,
    workers: int,
    begun: BatchShape | None = None,
) -> Setup:
    """Put together everything that is decided.

    Args:
        options: the user's words.
        package: what is run.
        volume: what it is run on.
        layout: from `lay_out`.
        choice: the engine that runs; its threshold holds where the user gives none.
        workers: engine threads.
        begun: what goes through a GPU in one call, where the run is resumed.
    """
    contract, plan = package.contract, layout.plan
    threshold = choice.trial.threshold if options.threshold is None else options.threshold
    voxel_nm = grid_voxel_nm(volume, contract, options.grid)
    spec = SinkSpec(options.output, plan.output_shape, plan.block, voxel_nm, contract.classes, threshold)
    return Setup(
        options,
        package,
        volume,
        layout.counts,
        layout.intensity,
        plan,
        threshold,
        workers,
        choice,
        spec,
        begun,
    )


def require_memory(plan: Plan, volume: Volume, threads: Threads, pinned_bytes: int = 0) -> None:
    """Require that the blocks in flight fit into this machine's memory.

    Args:
        plan: of the run.
        volume: that is read.
        threads: of the stream, which say how many blocks there are at once.
        pinned_bytes: that a GPU's lanes take beside them.

    Raises:
        PlanError: they do not; names what is needed and what there is.
    """
    needed = in_flight_bytes(plan, volume.dtype.itemsize, threads) + pinned_bytes
    there = memory_bytes()
    if there is not None and needed > there:
        raise PlanError(
            f"blocks of {'x'.join(map(str, plan.block))} voxels need {needed / 1e9:.1f} GB in flight and "
            f"this machine has {there / 1e9:.1f} GB: give a smaller --block"
        )


def known_voxel_nm(volume: Volume, contract: Contract) -> Spacing:
    """Return the voxel size in nm, zyx, that a volume is resampled from.

    Raises:
        UsageError: the volume does not say it, and the package works at another than the volume's own.
    """
    if volume.voxel_nm is not None:
        return volume.voxel_nm
    if contract.working_voxel_nm is None:
        return (1.0, 1.0, 1.0)  # never used: the network works on the volume's own grid
    raise UsageError(
        f"{volume.path} does not say its voxel size, and the package works at "
        f"{contract.working_voxel_nm:g} nm: give it with --voxel-nm Z,Y,X"
    )


def grid_voxel_nm(volume: Volume, contract: Contract, grid: Grid) -> Spacing | None:
    """Return the voxel size of a grid in nm, zyx; None where the volume's is unknown."""
    if volume.voxel_nm is None or grid == "volume" or contract.working_voxel_nm is None:
        return volume.voxel_nm
    return (volume.voxel_nm[0], contract.working_voxel_nm, contract.working_voxel_nm)


def drift_of(setup: Setup) -> Iterator[str]:
    """Yield a sentence for each way in which the volume lies outside the training domain."""
    contract, volume = setup.package.contract, setup.volume
    found = quantiles(setup.counts, setup.intensity.low, setup.intensity.high, QUANTILE_PERCENTS)
    yield from intensity_drift(contract.domain, found)
    doubt = None if volume.voxel_nm is None else order_doubt(volume.voxel_nm)
    if doubt is not None:
        yield doubt
    if contract.working_voxel_nm is None and volume.voxel_nm is not None:
        here, there = volume.voxel_nm[1], contract.voxel_nm[1]
        if not 0.8 <= here / there <= 1.25:
            yield (
                f"the voxels are {here:g} nm wide and the package was trained at {there:g} nm: objects will "
                "not have the size that it knows; resample the volume or train with working_voxel_nm"
            )


def ledger_header(
    setup: Setup, fingerprint: str, engine: str, batch: BatchShape | None = None
) -> LedgerHeader:
    """Return what a resumed run must share with this one.

    Args:
        setup: of the run.
        fingerprint: the volume's.
        engine: the engine's description: another library may round otherwise.
        batch: what goes through a GPU in one call; None on a processor.
    """
    options = {
        "threshold": setup.threshold,
        "engine": engine,
        ENGINE_KEY: vars(setup.choice.candidate) | ({} if batch is None else vars(batch)),
        "voxel_nm": setup.volume.voxel_nm,
        "normalisation": [setup.intensity.low, setup.intensity.high, setup.intensity.clip],
    }
    return LedgerHeader(fingerprint, setup.package.sha256, setup.plan.to_json(), __version__, options)
