"""A bench as text."""

from collections.abc import Callable
from dataclasses import replace

from dmn_runtime.bench.result import Bench
from dmn_runtime.bench.rounds import Round
from dmn_runtime.bench.text import bench_text
from dmn_runtime.report import GpuFacts

Benches = Callable[..., Bench]


def test_a_whole_report(bench: Benches) -> None:
    lines = bench_text(bench())
    assert lines[:6] == [
        "package   small, sha256 abababababab",
        "engine    fp32 by onnxruntime 1.31.1; 2 workers",
        "volume    own.tif, 8 x 1000 x 1000 voxels (zyx), uint8, 50 x 5 x 5 nm, "
        "resampled to 10 nm for the network and back",
        "machine   Some CPU, 2 cores, 8 GiB",
        "measured  2026-11-20T10:00:00+00:00, 1 round, dmn 0.1.0",
        "",
    ]
    figures = [line.split() for line in lines[6:]]
    assert ["network", "only", "4.00", "4.00", "4.00", "Mvoxel/s"] in figures
    assert ["gather,", "of", "the", "copy", "50.0", "50.0", "50.0", "%"] in figures
    assert ["network", "2", "workers", "6.00", "75.0"] in figures
    assert "blocks in the queues on average, of 4 at most: segment 1.5, write 0.2" in lines
    assert "limit: network, done by the workers" in lines
    assert "peak memory of a run: 512 MiB" in lines
    assert "ceilings: matrix product of numpy 2.4.6" in lines
    assert not any(line.startswith("warning") for line in lines)


def test_what_is_not_known_is_said(bench: Benches) -> None:
    one = bench()
    lines = bench_text(
        bench(
            multiply_adds_per_px=None,
            peak_rss_bytes=None,
            load_average=1e6,
            machine=replace(one.machine, memory_bytes=None),
            volume=replace(one.volume, voxel_nm=None, working_voxel_nm=None),
            gpus=("A GPU",),
            engine=replace(one.engine, precision="int8"),
        )
    )
    assert "machine   Some CPU, 2 cores, A GPU" in lines
    assert "volume    own.tif, 8 x 1000 x 1000 voxels (zyx), uint8" in lines
    assert "ceilings: matrix product of numpy 2.4.6" in lines
    assert any(line.startswith("the package does not state its multiply-adds") for line in lines)
    assert lines[-1].startswith("warning: the machine is busy")
    assert not any("peak memory" in line for line in lines)


def test_each_share_of_the_gpu_is_told_once(
    bench: Benches, bench_round: Callable[..., Round], on_gpu: GpuFacts
) -> None:
    fewer = replace(on_gpu, lanes=1, free_before_bytes=2**30, free_after_bytes=2**29)
    rounds = tuple(bench_round(gpu=one) for one in (on_gpu, replace(on_gpu, free_before_bytes=0), fewer))
    told = [line for line in bench_text(bench(rounds=rounds)) if line.startswith("on the GPU")]
    assert told == [
        "on the GPU at once: tiles of 1152 px, batches of 8, 3 streams, slabs of 8 slices; "
        "78.00 GiB free before and 74.00 after, 1.00 planned",
        "on the GPU at once: tiles of 1152 px, batches of 8, 1 stream, slabs of 8 slices; "
        "1.00 GiB free before and 0.50 after, 1.00 planned",
    ]
    assert not any(line.startswith("on the GPU") for line in bench_text(bench()))
