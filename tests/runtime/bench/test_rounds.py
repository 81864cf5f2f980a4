"""Figures from rounds, on paper."""

from collections.abc import Callable

from dmn_runtime.bench.figure import Figure, figure_of
from dmn_runtime.bench.rounds import Ceilings, Extent, Round, figures_of
from dmn_runtime.bench.wording import WORDINGS

Rounds = Callable[..., Round]
EXTENT = Extent(voxels=8_000_000, px=4_000_000, tiles=8)


def test_a_figure_is_median_smallest_and_largest() -> None:
    assert figure_of([3.0, 1.0, 2.0]) == Figure(2.0, 1.0, 3.0)
    assert figure_of([5.0]) == Figure(5.0, 5.0, 5.0)


def test_the_figures_of_one_round(bench_round: Rounds) -> None:
    found = {name: one.median for name, one in figures_of([bench_round()], EXTENT, 1000.0).items()}
    assert found == {
        "network_only_voxels_per_s": 4e6,
        "network_only_px_per_s": 2e6,
        "gather_voxels_per_s": 40e6,
        "scatter_voxels_per_s": 20e6,
        "end_to_end_voxels_per_s": 2e6,
        "end_to_end_percent_of_network_only": 50.0,
        "first_tile_s": 0.5,
        "copy_bytes_per_s": 8e9,
        "gather_bytes_per_s": 4e9,
        "gather_percent_of_copy": 50.0,
        "scatter_bytes_per_s": 1e9,
        "scatter_percent_of_copy": 12.5,
        "matmul_1_thread_macs_per_s": 5e9,
        "matmul_all_threads_macs_per_s": 1e10,
        "network_macs_per_s": 2e9,
        "network_percent_of_matmul": 20.0,
    }


def test_the_share_is_of_the_engine_s_own_product(bench_round: Rounds) -> None:
    by_engine = bench_round(ceilings=Ceilings(8e9, 5e9, 1e10, 4e9))
    found = figures_of([by_engine], EXTENT, 1000.0)
    assert found["engine_matmul_macs_per_s"].median == 4e9
    assert found["network_percent_of_engine_matmul"].median == 50.0
    assert "network_percent_of_matmul" not in found
    mixed = figures_of([by_engine, bench_round()], EXTENT, 1000.0)
    assert mixed["network_percent_of_matmul"].median == 20.0
    assert not any("engine" in name for name in mixed)


def test_every_figure_has_its_words(bench_round: Rounds) -> None:
    by_engine = bench_round(ceilings=Ceilings(8e9, 5e9, 1e10, 4e9))
    assert list(figures_of([by_engine], EXTENT, 1000.0)) == list(WORDINGS)[:-1]
    by_numpy = list(figures_of([bench_round()], EXTENT, 1000.0))
    assert by_numpy == [name for name in WORDINGS if "engine" not in name]


def test_a_share_is_of_the_same_round(bench_round: Rounds) -> None:
    rounds = [bench_round(2.0, 4.0), bench_round(4.0, 4.0), bench_round(8.0, 10.0)]
    found = figures_of(rounds, EXTENT, None)
    assert found["end_to_end_percent_of_network_only"] == Figure(80.0, 50.0, 100.0)
    assert found["network_only_voxels_per_s"] == Figure(2e6, 1e6, 4e6)


def test_what_was_not_measured_is_left_out(bench_round: Rounds) -> None:
    without = figures_of([bench_round(), bench_round(ceilings=None)], EXTENT, 1000.0)
    assert [name for name in without if "copy" in name or "matmul" in name] == []
    assert "network_macs_per_s" in without
    assert Ceilings(None, None, None).engine_matmul_macs_per_s is None
    nothing = figures_of([bench_round(ceilings=Ceilings(None, None, None))], EXTENT, 1000.0)
    assert list(nothing) == list(without)
    unstated = figures_of([bench_round()], EXTENT, None)
    assert [name for name in unstated if name.startswith("network_macs") or "of_matmul" in name] == []
