"""A volume in main memory through a package and back into main memory: voxels per second, stage by stage.

python benchmarks/gpu/ram_to_ram.py PACKAGE.zip... [--shape Z,Y,X] [--engine cuda] [--precision fp16]
    [--rounds N] [--tile PX] [--block Z,Y,X] [--json FILE] [--dry-run]

For every package: the engine's parity with the trained network on the package's golden tiles; the largest
difference, in grey levels, between two whole blocks of the volume and fp32 by ONNX Runtime on the CPU; then,
after one round that is not counted, N rounds of the whole volume (median and range), and the stages on the
device (upload, gather, network, scatter, download) with the bandwidth of the two kernels. Both comparisons
are judged: what the package's certificate allows of the precision, and one grey level more for rounding. The
exit status is 1 where one fails, after table and file were written, and 2 where nothing could be measured.
The volume is made-up tissue, repeated to the shape; nothing is read from or written to a disk. --dry-run says
what would be run and how the memory of an 80 GB GPU would be shared out, and needs no GPU.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from math import ceil, floor
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.certificate.tolerance import Tolerance
from dmn_runtime.clock import Clock, Occupancy
from dmn_runtime.commands.infer import parse_triple
from dmn_runtime.engines.choose import choose, open_best
from dmn_runtime.engines.cpu import open_cpu_engine
from dmn_runtime.errors import DmnError, OutputError, UsageError
from dmn_runtime.geometry import Region, Triple
from dmn_runtime.gpu.engine import GpuEngine
from dmn_runtime.gpu.inquiry import visible_gpus
from dmn_runtime.gpu.memory_plan import UNKNOWN_VALUES_PER_PX, Need, plan_memory
from dmn_runtime.machine import logical_cores, machine_facts
from dmn_runtime.package import Package, open_package, resolve_package
from dmn_runtime.phantom import make_phantom
from dmn_runtime.plan import Footprint, Plan, make_plan
from dmn_runtime.report import GpuFacts, versions
from dmn_runtime.setup import Options, Setup, engine_wish, lay_out, set_up
from dmn_runtime.source import mirrored_inside, read_inside, read_working
from dmn_runtime.volume.base import Voxels
from dmn_runtime.whole_file import whole_file
from dmn_runtime.workforce import Workforce, gather_workforce, largest_core

sys.path.append(str(Path(__file__).parents[1]))
from in_memory import MemoryVolume, pass_through

ENGINES = ("cuda", "tensorrt", "tensorrt_rtx", "openvino", "cpu", "auto")
SLAB = (8, 1024, 1024)
LOOKED_AT = 2
"""Blocks that the CPU computes too."""
DRY_FREE_BYTES = 78 * 2**30
MEGA = 1e6


@dataclass
class Measured:
    """One package by one engine; speeds in voxels per second."""

    package: str
    engine: str
    precision: str
    reason: str
    allowed: Tolerance
    golden_iou_change: float
    golden_max_dp: float
    max_grey_against_cpu: int
    rounds: list[float]
    stages_s: dict[str, float]
    queues: dict[str, float]
    device_stages_s: dict[str, float] = field(default_factory=dict)
    kernel_bytes: dict[str, int] = field(default_factory=dict)
    gpu: GpuFacts | None = None


def made_up(shape: Triple, voxel_nm: float) -> Voxels:
    """Return tissue repeated to `shape`, uint8 zyx."""
    edge = [min(n, most) for n, most in zip(shape, SLAB, strict=True)]
    slab = make_phantom((edge[0], edge[1], edge[2]), seed=1, voxel_nm=voxel_nm, regime="fibsem").image
    times = [ceil(n / e) for n, e in zip(shape, edge, strict=True)]
    return np.ascontiguousarray(np.tile(slab, times)[tuple(slice(0, n) for n in shape)])


def options_of(path: Path, given: argparse.Namespace) -> Options:
    """Return the run's words."""
    return Options(
        package=str(path),
        volume="",
        output=Path("none.ome.zarr"),
        grid="working",
        tile_px=given.tile,
        block=given.block,
        engine=given.engine,
        precision=given.precision,
        strict=True,
    )


def volume_for(package: Package, shape: Triple) -> MemoryVolume:
    """Return a volume at the voxel size that the package works at, so that nothing is resampled."""
    contract = package.contract
    nm = contract.working_voxel_nm or contract.voxel_nm[1]
    return MemoryVolume(made_up(shape, nm), (contract.voxel_nm[0], nm, nm))


def passed_through(setup: Setup, force: Workforce, out: NDArray[np.uint8]) -> tuple[float, Occupancy]:
    """Stream the volume into `out`; return the seconds and the queues."""
    begin = perf_counter()
    queues = pass_through(setup, force, out, range(len(setup.plan)))
    return perf_counter() - begin, queues


def against_cpu(setup: Setup, out: NDArray[np.uint8]) -> int:
    """Return the largest difference to ONNX Runtime on the CPU over a few whole blocks, in grey levels."""
    plan, package = setup.plan, setup.package
    engine = open_cpu_engine(package.network(), setup.intensity.table(setup.volume.dtype), plan.footprint)
    most = 0
    for index in sorted({0, len(plan) // 2})[:LOOKED_AT]:
        for part in slices_of(plan.block_at(index).core):  # one at a time: activations are large
            inner = _aligned(part, plan.footprint.stride_px)
            patch = read_working(setup.volume.read, plan, inner.grown(plan.footprint.margin))
            found = engine.segment(patch)[part.relative_to(inner.start).slices]
            most = max(most, int(np.abs(found.astype(int) - out[part.slices]).max()))
    return most


def most_grey(allowed: Tolerance) -> int:
    """Return the grey levels that two results may differ by: what a certificate allows, and rounding."""
    return 1 + floor(255 * allowed.max_dp)


def fault_of(one: Measured) -> str | None:
    """Say in what a result is not the trained network's; None where it is. NaN is a fault."""
    figures = (
        ("golden IoU change", one.golden_iou_change, one.allowed.iou_change),
        ("golden max |dp|", one.golden_max_dp, one.allowed.max_dp),
        ("grey levels off the CPU", one.max_grey_against_cpu, most_grey(one.allowed)),
    )
    wrong = [f"{name} {found:.3g} (allowed {most:g})" for name, found, most in figures if not found <= most]
    return f"{one.package} by {one.engine}: {', '.join(wrong)}" if wrong else None


def slices_of(region: Region) -> list[Region]:
    """Cut a region into slices."""
    (start, *yx), (stop, *ends) = region.start, region.stop
    return [Region((z, yx[0], yx[1]), (z + 1, ends[0], ends[1])) for z in range(start, stop)]


def replace_depth(region: Region, slices: int) -> Region:
    """Return the first slices of a region."""
    return Region(region.start, (region.start[0] + slices, *region.stop[1:]))


def _aligned(region: Region, stride: int) -> Region:
    start = (region.start[0], *(n // stride * stride for n in region.start[1:]))
    stop = (region.stop[0], *(ceil(n / stride) * stride for n in region.stop[1:]))
    return Region(start, stop)  # type: ignore[arg-type]


def kernel_bytes(engine: GpuEngine, core: Region) -> dict[str, int]:
    """Return the bytes that gather and scatter of one slab must move, each once."""
    slab, size = engine.slab_of(core), engine.runner.batch_dtype.itemsize
    pixels = len(slab.tiles) * engine.share.edge_px**2
    channels = 2 * engine.footprint.context_slices + 1
    patch = slab.patch.size
    return {
        "gather": patch + pixels * channels * size,
        "scatter": sum(tile.core.size for tile in slab.tiles) * (size + 1),
    }


def on_device(engine: GpuEngine, setup: Setup, rounds: int) -> tuple[dict[str, float], dict[str, int]]:
    """Return the median seconds of each stage on the device for one slab, and the kernels' bytes."""
    block = setup.plan.block_at(len(setup.plan) // 2)
    core = replace_depth(block.core, min(engine.share.slab_slices, block.core.shape[0]))
    patch = read_inside(setup.volume.read, setup.plan, engine.slab_of(core).patch)
    engine.timed(core, patch)
    found = [engine.timed(core, patch) for _ in range(rounds)]
    medians = {stage: statistics.median(one[stage] for one in found) for stage in found[0]}
    return medians, kernel_bytes(engine, core)


def measured(path: Path, given: argparse.Namespace) -> Measured:
    """Measure one package."""
    package = open_package(resolve_package(str(path)))
    options = options_of(path, given)
    wish = engine_wish(options)
    volume = volume_for(package, given.shape)
    layout = lay_out(options, package.contract, volume, wish.workers)
    with ExitStack() as opened:
        choice, runner = open_best(package, choose(package, wish, told), wish, told)
        opened.callback(runner.close)
        setup = set_up(options, package, volume, layout, choice, wish.workers)
        clock = Clock()
        force = gather_workforce(setup, runner, clock, told)
        opened.callback(force.engine.close)
        out = np.empty(setup.plan.output_shape, np.uint8)
        rounds = []
        passed_through(setup, force, out)
        before = clock.busy_s
        for _ in range(given.rounds):
            seconds, queues = passed_through(setup, force, out)
            rounds.append(out.size / seconds)
        parity = choice.trial.parity
        assert parity is not None
        spent = {name: s - before.get(name, 0.0) for name, s in clock.busy_s.items()}
        result = Measured(
            path.stem, force.engine.description, choice.candidate.precision, choice.reason,
            choice.trial.tolerance, parity.iou_change, parity.max_dp, against_cpu(setup, out), rounds, spent,
            queues.means(), gpu=force.gpu,
        )  # fmt: skip
        if isinstance(force.engine, GpuEngine):
            result.device_stages_s, result.kernel_bytes = on_device(force.engine, setup, given.rounds)
        return result


def intentions(path: Path, given: argparse.Namespace) -> list[str]:
    """Say what would be run, and how an 80 GB GPU would be shared out."""
    package = open_package(resolve_package(str(path)))
    options, contract = options_of(path, given), package.contract
    nm = contract.working_voxel_nm or contract.voxel_nm[1]
    volume = MemoryVolume(np.broadcast_to(np.uint8(0), given.shape), (nm, nm, nm))
    plan = _planned(options, package, volume)
    core = largest_core(plan)
    values = ceil(contract.values_per_px or UNKNOWN_VALUES_PER_PX)
    edge = plan.tile[1] + 2 * plan.footprint.halo_px
    need = Need(plan.footprint, contract.in_channels, values, 2, 1, core, edge)
    share = plan_memory(need, DRY_FREE_BYTES)
    inside = mirrored_inside(plan.block_at(0).read, plan.working_shape)
    return [
        f"{path.stem}: {' x '.join(map(str, given.shape))} voxels by {given.engine} {given.precision}, "
        f"{given.rounds} rounds; {len(plan)} blocks, {inside.size / MEGA:.1f} Mvoxel up for each",
        f"  on 78 GiB: tiles of {share.edge_px} px, batches of {share.batch}, {share.lanes} streams, slabs "
        f"of {share.slab_slices} slices, {share.nbytes / 2**30:.1f} GiB at most",
    ]


def _planned(options: Options, package: Package, volume: MemoryVolume) -> Plan:
    contract = package.contract
    footprint = Footprint(contract.stride_px, contract.halo_px, contract.context_slices)
    return make_plan(
        volume.shape, volume.voxel_nm, contract.working_voxel_nm, footprint, grid="working",
        tile_px=options.tile_px, block=options.block,
    )  # fmt: skip


def line(one: Measured) -> str:
    """Return a row of the Markdown table."""
    millions = [speed / MEGA for speed in one.rounds]
    kernels = ", ".join(
        f"{name} {nbytes / one.device_stages_s[name] / 1e9:.0f} GB/s"
        for name, nbytes in one.kernel_bytes.items()
        if one.device_stages_s.get(name)
    )
    return (
        f"| {one.package} | {one.engine} | {statistics.median(millions):.1f} "
        f"({min(millions):.1f}-{max(millions):.1f}) | {one.golden_iou_change:.4f} | {one.golden_max_dp:.1e} "
        f"| {one.max_grey_against_cpu} | {kernels or '-'} |"
    )


def told(sentence: str) -> None:
    """Say a sentence beside the table."""
    print(sentence, file=sys.stderr)


def parsed(words: Sequence[str] | None) -> argparse.Namespace:
    """Check the command line.

    Raises:
        UsageError: a word makes no sense.
        OutputError: the file cannot be written.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("packages", nargs="+", type=Path)
    parser.add_argument("--shape", default="64,2048,2048")
    parser.add_argument("--engine", default="auto", choices=ENGINES)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tile", type=int)
    parser.add_argument("--block")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--dry-run", action="store_true")
    given = parser.parse_args(words)
    given.shape = parse_triple("--shape", given.shape)
    given.block = None if given.block is None else parse_triple("--block", given.block)
    if min(given.shape) < 1 or given.rounds < 1:
        raise UsageError(f"--shape {given.shape} and --rounds {given.rounds}: wanted numbers from 1")
    if given.json and (given.json.is_dir() or not given.json.parent.is_dir()):
        # Before minutes are spent on what it is to hold.
        raise OutputError(
            f"--json {given.json} is a folder or lies in none: name a file in an existing folder"
        )
    return given


def write(path: Path, found: Sequence[Measured], shape: Triple) -> None:
    """Write all figures, whole or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    facts = {
        "machine": asdict(machine_facts()),
        "gpus": [asdict(gpu) for gpu in visible_gpus()],
        "cores": logical_cores(),
        "versions": versions(),
        "shape": shape,
        "runs": [asdict(one) for one in found],
    }
    with whole_file(path, "benchmark") as partial:
        partial.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def show(found: Sequence[Measured], given: argparse.Namespace) -> None:
    """Print the table."""
    where = [gpu.name for gpu in visible_gpus()] or [machine_facts().cpu]
    shape = " x ".join(map(str, given.shape))
    print(f"{where[0]}; {shape} voxels, {given.rounds} rounds, RAM to RAM")
    print("| package | engine | Mvoxel/s | golden IoU change | max dp | grey levels off the CPU | kernels |")
    print("|---|---|---|---|---|---|---|")
    for one in found:
        print(line(one))
        told(f"{one.package}: {one.stages_s} {one.device_stages_s} {one.queues}")
        if one.gpu is not None:
            told(f"{one.package}: {one.gpu.words()}")


def main(words: Sequence[str] | None = None) -> int:
    """Measure every package and print the table; return the exit status."""
    try:
        given = parsed(words)
        if given.dry_run:
            print("\n".join(text for path in given.packages for text in intentions(path, given)))
            return 0
        found = [measured(path, given) for path in given.packages]
        show(found, given)
        if given.json:
            write(given.json, found, given.shape)
    except DmnError as error:
        print(f"ram_to_ram: {error}", file=sys.stderr)
        return 2
    faults = [fault for one in found if (fault := fault_of(one)) is not None]
    if faults:
        told(f"ram_to_ram: not the same segmentation: {'; '.join(faults)}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
