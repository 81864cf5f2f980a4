"""What is examined, what is remembered, when all are raced again; and that no runner stays open."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from dmn_runtime.archive import write_archive
from dmn_runtime.certificate.golden import read_golden
from dmn_runtime.engines import examination as module
from dmn_runtime.engines.base import Tiles
from dmn_runtime.engines.candidates import Candidate
from dmn_runtime.engines.cpu import open_cpu
from dmn_runtime.engines.examination import (
    Wish,
    examined,
    opened,
    order_for,
    raced,
    read_edge_px,
    state_for,
    timed_tile,
)
from dmn_runtime.engines.remembered import networks_of, recall, recall_faults, remember_faults, state_of
from dmn_runtime.engines.trial import Trial, examine
from dmn_runtime.errors import EngineError, MissingMember, ResumeError
from dmn_runtime.gpu.memory_plan import BatchShape
from dmn_runtime.package import Package, open_package
from dmn_runtime.plan import BLOCK_SLICES

WISH = Wish(workers=2)
GPU, CPU = BOTH = (Candidate("gpu", "fp32"), Candidate("cpu", "fp32"))


@pytest.fixture
def package(small_package: Callable[..., Path], cache: Path) -> Package:
    """Return a package that nothing is remembered of."""
    assert not cache.exists()
    return open_package(small_package())


@pytest.fixture
def said() -> list[str]:
    return []


def kept(package: Package, wish: Wish = WISH) -> dict[Candidate, Trial]:
    """Return what the machine remembers."""
    return recall(state_for(package, wish))


def by_engine(trials: tuple[Trial, ...]) -> dict[str, Trial]:
    return {trial.candidate.engine: trial for trial in trials}


# Without the halo


def padded(tiles: Tiles, edge_px: int) -> Tiles:
    """Return tiles with zeros right and below, as a plan of one size gets them."""
    more = [edge_px - size for size in tiles.shape[2:]]
    return np.pad(tiles, [(0, 0), (0, 0), (0, more[0]), (0, more[1])])


def test_a_runner_that_pads_tiles_passes(package: Package) -> None:
    plain, golden = open_cpu(package.network()), read_golden(package)

    class Padding:
        description = "pads"

        def run(self, tiles: Tiles) -> Tiles:
            return plain.run(padded(tiles, 48))[..., : tiles.shape[2], : tiles.shape[3]]

        def close(self) -> None:
            """Nothing is held."""

    tiles = golden.tiles
    assert np.abs(Padding().run(tiles) - plain.run(tiles)).max() > 0.1  # within the halo
    assert golden.probability.shape == (2, 1, 20, 20)
    trial = examine(package.contract, CPU, Padding(), golden)
    assert trial.fault is None
    assert trial.parity is not None
    assert trial.parity.max_dp < 1e-4


# What is remembered


def test_examined_again_when_that_is_asked_for(
    package: Package, fleet: ModuleType, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    table = fleet.install(monkeypatch, one=fleet.Model())
    wanted = [Candidate("one", "fp32")]
    for again in (False, False, True):
        examined(package, wanted, WISH, said.append, again=again)
    assert table.opened == ["one fp32"] * 2
    assert examined(package, [], WISH, said.append) == ()


@pytest.mark.parametrize("refuses", ["no GPU answers", ValueError("no GPU\nanswers")], ids=str)
def test_what_could_not_be_opened_is_tried_again_and_costs_no_new_race(
    package: Package,
    fleet: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    said: list[str],
    refuses: str | Exception,
) -> None:
    table = fleet.install(
        monkeypatch, gpu=fleet.Model(refuses=refuses), cpu=fleet.Model(), more=fleet.Model(speed=2e6)
    )
    wanted = (*BOTH, Candidate("more", "fp32"))
    first = examined(package, wanted, WISH, said.append)
    assert set(kept(package)) == set(wanted[1:])
    table.opened.clear()
    said.clear()
    second = examined(package, wanted, WISH, said.append)
    assert (second, table.opened, said) == (first, ["gpu fp32"], [])
    assert "no GPU answers" in (second[0].fault or "")
    assert len(table.timed) == 1
    table.models["gpu"].refuses = None
    table.runners.clear()
    third = examined(package, wanted, WISH, said.append)
    assert [trial.fault for trial in third] == [None] * 3
    assert table.timed[1:] == [("gpu fp32", "cpu fp32", "more fp32")]
    assert len({trial.race for trial in third}) == 1
    assert third[1].race != second[1].race
    assert all(runner.closed == 1 for runner in table.runners)
    assert set(kept(package)) == set(wanted)


def test_what_opens_and_does_not_run_costs_no_new_race_either(
    package: Package, fleet: ModuleType, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    table = fleet.install(monkeypatch, gpu=fleet.Model(spoil=fleet.dying), cpu=fleet.Model())
    first = examined(package, BOTH, WISH, said.append)
    table.opened.clear()
    said.clear()
    assert examined(package, BOTH, WISH, said.append) == first
    assert (table.opened, said) == (["gpu fp32"], [])
    assert (first[0].fault or "").startswith("it does not run (RuntimeError")
    table.models["gpu"].spoil = lambda logits: logits
    assert [trial.fault for trial in examined(package, BOTH, WISH, said.append)] == [None, None]
    assert table.timed == [("gpu fp32", "cpu fp32")]
    assert all(runner.closed == 1 for runner in table.runners)


def test_speeds_of_two_races_are_not_compared(
    package: Package, fleet: ModuleType, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    table = fleet.install(monkeypatch, **{word: fleet.Model() for word in ("a", "b", "c")})
    a, b, c = (Candidate(word, "fp32") for word in "abc")
    examined(package, (a, b), WISH, said.append)
    examined(package, (c,), WISH, said.append)
    races = {one: trial.race for one, trial in kept(package).items()}
    assert races[a] == races[b] != ""
    assert races[c] == ""
    examined(package, (b,), WISH, said.append)
    assert len(table.timed) == 1
    examined(package, (b, c), WISH, said.append)
    assert table.timed == [("a fp32", "b fp32"), ("b fp32", "c fp32")]
    races = {one: trial.race for one, trial in kept(package).items()}
    assert races[b] == races[c] != races[a]
    examined(package, (a, b), WISH, said.append)
    assert len(table.timed) == 3


def test_trials_of_one_race_can_be_compared_and_so_can_one_alone(package: Package) -> None:
    golden = read_golden(package)
    one = examine(package.contract, CPU, open_cpu(package.network()), golden)
    first, second = replace(one, race="x", voxels_per_s=1.0), replace(one, race="y", voxels_per_s=2.0)
    faulty = replace(second, fault="it is wrong")
    assert raced([])
    assert raced([one])
    assert raced([first, first])
    assert raced([first, faulty])
    assert not raced([first, second])
    assert not raced([one, one])  # neither was timed


def test_a_candidate_examined_alone_keeps_the_speed_of_its_race(
    package: Package, fleet: ModuleType, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    table = fleet.install(monkeypatch, gpu=fleet.Model(speed=fleet.FAST), cpu=fleet.Model())
    examined(package, BOTH, WISH, said.append)
    before = kept(package)
    examined(package, (GPU,), WISH, said.append, again=True)
    after = kept(package)
    assert (after[GPU].voxels_per_s, after[GPU].race) == (fleet.FAST, before[GPU].race)
    assert after == before
    table.opened.clear()
    examined(package, BOTH, WISH, said.append)
    assert (table.opened, len(table.timed)) == ([], 1)


def test_a_candidate_that_fails_alone_loses_the_speed_of_its_race(
    package: Package, fleet: ModuleType, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    model = fleet.Model(speed=fleet.FAST)
    fleet.install(monkeypatch, gpu=model, cpu=fleet.Model())
    examined(package, BOTH, WISH, said.append)
    model.spoil = fleet.shifted
    examined(package, (GPU,), WISH, said.append, again=True)
    assert kept(package)[GPU].voxels_per_s is None
    assert (kept(package)[GPU].fault or "").startswith("it does not segment")


# The owner's volume


@pytest.mark.parametrize("wish", [WISH, replace(WISH, workers=1), replace(WISH, tile_px=64)], ids=str)
def test_a_fault_on_the_owners_volume_holds_for_any_run(
    package: Package, fleet: ModuleType, monkeypatch: pytest.MonkeyPatch, said: list[str], wish: Wish
) -> None:
    fleet.install(monkeypatch, gpu=fleet.Model(), cpu=fleet.Model())
    state = state_of(package.sha256, networks_of(package.contract), 7, 76)
    remember_faults(state, {GPU: "on your volume it fails"})
    for _ in range(2):  # examined, then remembered
        found = by_engine(examined(package, BOTH, wish, said.append))
        assert (found["gpu"].fault, found["cpu"].fault) == ("on your volume it fails", None)
    assert kept(package, wish)[GPU].fault is None  # it is not written down twice
    examined(package, BOTH, wish, said.append, again=True)
    assert by_engine(examined(package, BOTH, wish, said.append))["gpu"].fault == "on your volume it fails"
    assert recall_faults(state) == {GPU: "on your volume it fails"}
    remember_faults(state, {GPU: None})
    assert by_engine(examined(package, BOTH, wish, said.append))["gpu"].fault is None


def test_a_fault_on_the_owners_volume_holds_for_a_copy_that_carries_engines(
    package: Package, fleet: ModuleType, monkeypatch: pytest.MonkeyPatch, said: list[str], tmp_path: Path
) -> None:
    fleet.install(monkeypatch, gpu=fleet.Model(), cpu=fleet.Model())
    remember_faults(state_for(package, WISH), {GPU: "on your volume it fails"})
    members = {name: package.read_member(name) for name in package.contract.members}
    copy = write_archive(tmp_path / "with.zip", package.contract, members | {"plans/a.plan": b"a plan"})
    assert copy.sha256 != package.sha256
    assert by_engine(examined(copy, BOTH, WISH, said.append))["gpu"].fault == "on your volume it fails"


def test_the_golden_tiles_fault_is_told_before_the_volumes(
    package: Package, fleet: ModuleType, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    fleet.install(monkeypatch, gpu=fleet.Model(spoil=fleet.shifted), cpu=fleet.Model())
    remember_faults(state_for(package, WISH), {GPU: "on your volume it fails"})
    fault = by_engine(examined(package, BOTH, WISH, said.append))["gpu"].fault
    assert fault is not None
    assert fault.startswith("it does not segment")


# Engines that break


def test_who_stops_under_load_is_faulty(
    package: Package, fleet: ModuleType, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    error = RuntimeError("CUDA error:\nout of memory")
    table = fleet.install(monkeypatch, gpu=fleet.Model(speed=error), cpu=fleet.Model())
    found = by_engine(examined(package, BOTH, WISH, said.append))
    assert found["gpu"].fault == "it stops under load (RuntimeError: CUDA error: out of memory)"
    assert (found["cpu"].fault, found["cpu"].voxels_per_s) == (None, fleet.SLOW)
    assert kept(package)[GPU].fault == found["gpu"].fault
    assert all(runner.closed == 1 for runner in table.runners)


def test_runners_are_closed_where_the_race_is_interrupted(
    package: Package, fleet: ModuleType, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    table = fleet.install(monkeypatch, gpu=fleet.Model(), cpu=fleet.Model())

    def interrupted(*_: object) -> dict[Candidate, float]:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "timed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        examined(package, BOTH, WISH, said.append)
    assert [runner.closed for runner in table.runners] == [1, 1]


@pytest.mark.parametrize("dies", ["gpu", "cpu"])
def test_runners_are_closed_where_an_examination_is_interrupted(
    package: Package, fleet: ModuleType, monkeypatch: pytest.MonkeyPatch, said: list[str], dies: str
) -> None:
    def interrupted(_: Tiles) -> Tiles:
        raise KeyboardInterrupt

    table = fleet.install(monkeypatch, gpu=fleet.Model(), cpu=fleet.Model())
    table.models[dies].spoil = interrupted
    with pytest.raises(KeyboardInterrupt):
        examined(package, BOTH, WISH, said.append)
    assert {runner.closed for runner in table.runners} == {1}


@pytest.mark.parametrize("error", [RuntimeError("no\ndriver"), OSError("no\ndriver"), KeyError("driver")])
def test_whatever_opening_raises_is_a_fault(
    package: Package, fleet: ModuleType, monkeypatch: pytest.MonkeyPatch, said: list[str], error: Exception
) -> None:
    fleet.install(monkeypatch, gpu=fleet.Model(refuses=error), cpu=fleet.Model(refuses="no driver"))
    broken = opened(GPU, order_for(package, GPU, WISH, said.append))
    assert isinstance(broken, EngineError)
    assert str(broken).startswith(f"it cannot be opened ({type(error).__name__}: ")
    assert "\n" not in str(broken)
    refused = opened(CPU, order_for(package, CPU, WISH, said.append))
    assert isinstance(refused, EngineError)
    assert str(refused) == "no driver"
    faults = [trial.fault for trial in examined(package, BOTH, WISH, said.append)]
    assert faults == [str(broken), "no driver"]


def test_what_a_resumed_run_cannot_go_on_with_is_no_fault(
    package: Package, fleet: ModuleType, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    refusal = ResumeError("the GPU is full, and this run was begun with more")
    fleet.install(monkeypatch, gpu=fleet.Model(refuses=refusal), cpu=fleet.Model())
    with pytest.raises(ResumeError, match="begun with more"):
        examined(package, BOTH, WISH, said.append)


def test_a_package_without_golden_tiles_cannot_be_examined(
    package: Package, fleet: ModuleType, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    fleet.install(monkeypatch, one=fleet.Model())
    members = {name: sha for name, sha in package.contract.members.items() if not name.startswith("golden")}
    bare = replace(package, contract=replace(package.contract, members=members))
    with pytest.raises(MissingMember, match=r"golden_input\.npy"):
        examined(bare, [Candidate("one", "fp32")], WISH, said.append)


# Tiles


def test_what_an_engine_is_opened_for(package: Package, said: list[str]) -> None:
    plain = order_for(package, CPU, Wish(workers=3, tile_px=64), said.append)
    assert (plain.workers, plain.edge_px, plain.batch, plain.exactly) == (3, 76, BLOCK_SLICES, False)
    begun = order_for(package, CPU, Wish(tile_px=64, begun=BatchShape(4, 44)), said.append)
    assert (begun.edge_px, begun.batch, begun.exactly) == (44, 4, True)


def test_the_edge_of_the_largest_tile_is_a_multiple_of_the_stride(package: Package) -> None:
    contract = replace(package.contract, stride_px=16, halo_px=32)
    assert read_edge_px(contract, 100) == 112 + 64
    assert read_edge_px(contract, None) == 1024 + 64


@pytest.mark.parametrize(("tile_px", "edge"), [(None, 512), (64, 76)])
def test_a_processor_is_raced_with_real_tissue_of_a_fair_size(
    package: Package, said: list[str], tile_px: int | None, edge: int
) -> None:
    golden, one = read_golden(package), Candidate("cpu", "fp32")
    order = order_for(package, one, replace(WISH, tile_px=tile_px), said.append)
    tile = timed_tile(golden, order, one)
    assert tile.shape == (1, 1, edge, edge)
    assert tile.flags.c_contiguous
    np.testing.assert_array_equal(tile[..., :32, :32], golden.tiles[:1])
    assert np.unique(tile).size > 100


@pytest.mark.parametrize(("tile_px", "edge"), [(None, 1036), (64, 76), (8, 20)])
def test_a_gpu_is_raced_with_what_a_run_gives_it(
    package: Package,
    fleet: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    said: list[str],
    tile_px: int | None,
    edge: int,
) -> None:
    table = fleet.install(monkeypatch, gpu=fleet.Model(on_gpu=True), cpu=fleet.Model())
    examined(package, BOTH, replace(WISH, tile_px=tile_px), said.append)
    assert table.tiles == {
        "gpu fp32": (BLOCK_SLICES, 1, edge, edge),
        "cpu fp32": (1, 1, min(edge, 512), min(edge, 512)),
    }
