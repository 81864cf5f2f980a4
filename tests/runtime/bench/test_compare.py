"""Two benches side by side."""

from collections.abc import Callable
from dataclasses import replace

from dmn_runtime.bench.compare import Ratio, compare_text, differences, ratio_of
from dmn_runtime.bench.figure import Figure
from dmn_runtime.bench.result import Bench
from dmn_runtime.bench.rounds import Round
from dmn_runtime.report import GpuFacts

Benches = Callable[..., Bench]


def test_the_spread_is_of_any_two_rounds() -> None:
    assert ratio_of(Figure(6.0, 4.0, 8.0), Figure(3.0, 2.0, 4.0)) == Ratio(2.0, 1.0, 4.0)
    assert ratio_of(Figure(6.0, 4.0, 8.0), Figure(0.0, 0.0, 0.0)) is None


def test_what_is_not_alike_is_named(bench: Benches) -> None:
    one = bench()
    assert differences(one, bench(measured="later", load_average=9.0)) == ()
    assert differences(one, bench(machine=replace(one.machine, cpu="Another"))) == ("machine",)
    assert differences(one, bench(gpus=("A GPU",))) == ("machine",)
    assert differences(one, bench(package=replace(one.package, sha256="cd" * 32))) == ("package",)
    assert differences(one, bench(volume=replace(one.volume, shape=(1, 1, 1)))) == ("volume",)
    assert differences(one, bench(workers=3)) == ("engine",)
    assert differences(one, bench(plan=replace(one.plan, tile=(1, 8, 8)))) == ("plan",)


def test_another_share_of_the_gpu_is_named(
    bench: Benches, bench_round: Callable[..., Round], on_gpu: GpuFacts
) -> None:
    one, moved, fewer = (
        bench(rounds=(bench_round(gpu=gpu),))
        for gpu in (on_gpu, replace(on_gpu, free_before_bytes=1), replace(on_gpu, batch=4))
    )
    assert differences(one, moved) == ()
    assert differences(one, fewer) == ("share of the GPU",)


def test_the_text(bench: Benches, bench_round: Callable[..., Round]) -> None:
    new = bench(rounds=(bench_round(wall_s=2.0),), workers=4, multiply_adds_per_px=None)
    lines = compare_text(new, bench(), "old.json")
    assert lines[0] == "against old.json (2026-11-20T10:00:00+00:00, dmn 0.1.0):"
    assert lines[1] == "warning: not measured alike: another engine"
    [whole] = [line.split() for line in lines if line.startswith("  end to end  ")]
    assert whole == ["end", "to", "end", "2.00", "4.00", "2.000", "2.000", "to", "2.000", "Mvoxel/s"]
    assert not any("network only, of the matrix product" in line for line in lines)
