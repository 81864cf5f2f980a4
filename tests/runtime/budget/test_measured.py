"""A phantom grows until a run takes long enough, or until it is large."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dmn_runtime.bench.figure import Figure
from dmn_runtime.bench.measure import BenchOptions
from dmn_runtime.budget import measured as module
from dmn_runtime.budget.measured import measured, more_slices, refuse_seconds, run_s, speed_of
from dmn_runtime.budget.verdict import Speed
from dmn_runtime.errors import UsageError

OPTIONS = BenchOptions("demo", None, (50.0, 8.0, 8.0), quick=True)
SERIAL_S = 0.6


@dataclass(frozen=True)
class FakeBench:
    load_average: float
    rounds: tuple[Any, ...]
    figures: dict[str, Figure]


class Machine:
    """Takes `SERIAL_S` for a run and a second for `slices_per_s` slices; phantoms are files with a size."""

    def __init__(self, slices_per_s: float) -> None:
        self.slices_per_s = slices_per_s
        self.ran: list[int] = []
        self.said: list[str] = []
        self.loads = iter([0.1, 3.0, 5.0, 7.0])

    def write_phantom(self, path: Path, shape: tuple[int, int, int], voxel_nm: Any) -> None:
        assert shape[1:] == (1024, 1024)
        assert voxel_nm == OPTIONS.voxel_nm
        path.write_text(str(shape[0]))

    def run_bench(self, options: BenchOptions, say: Callable[[str], None]) -> FakeBench:
        assert options.volume is not None
        say("so it begins")
        slices = int(Path(options.volume).read_text())
        self.ran.append(slices)
        wall_s = SERIAL_S + slices / self.slices_per_s
        figures = {
            "end_to_end_voxels_per_s": Figure(slices / wall_s, 1.0, 99.0),
            "network_only_voxels_per_s": Figure(0.0, 0.0, self.slices_per_s),
        }
        rounds = (SimpleNamespace(end_to_end=SimpleNamespace(wall_s=wall_s)),)
        return FakeBench(next(self.loads), rounds, figures)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], Machine]:
    """Return a maker of machines that stand in for this one."""

    def make(slices_per_s: float) -> Machine:
        made = Machine(slices_per_s)
        monkeypatch.setattr(module, "run_bench", made.run_bench)
        monkeypatch.setattr(module, "write_phantom", made.write_phantom)
        return made

    return make


@pytest.mark.parametrize(
    ("slices_per_s", "ran"),
    [
        (2.5, [24]),  # 10.2 s at once
        (4.0, [24, 48]),  # 6.6 s, then 12.6 s
        (60.0, [24, 288, 640]),  # 1.0 s, 5.4 s, 11.3 s
        (300.0, [24, 424, 1024]),  # 0.7 s, 2.0 s, and a phantom that is as large as they become
    ],
)
def test_a_phantom_grows_until_a_run_is_long(
    machine: Callable[[float], Machine], slices_per_s: float, ran: list[int]
) -> None:
    one = machine(slices_per_s)
    bench = measured(OPTIONS, 10.0, one.said.append)
    assert one.ran == ran
    assert run_s(bench) == SERIAL_S + ran[-1] / slices_per_s
    assert bench.load_average == 0.1  # later it is that of the measurement itself
    assert one.said.count("so it begins") == 1
    assert sum("measuring on" in said for said in one.said) == len(ran) - 1


def test_a_volume_of_the_users_own_is_measured_as_it_is(
    machine: Callable[[float], Machine], tmp_path: Path
) -> None:
    (tmp_path / "own.tif").write_text("3")
    one = machine(60.0)
    measured(replace(OPTIONS, volume=str(tmp_path / "own.tif")), 10.0, one.said.append)
    assert one.ran == [3]


def test_a_short_run_is_bounded_by_the_network_alone(machine: Callable[[float], Machine]) -> None:
    bench = measured(OPTIONS, 10.0, machine(300.0).said.append)
    assert speed_of(bench, 10.0) == Speed(bench.figures["end_to_end_voxels_per_s"], 300.0)
    assert speed_of(bench, run_s(bench)) == Speed(bench.figures["end_to_end_voxels_per_s"])


@pytest.mark.parametrize(("took_s", "more"), [(6.0, 48), (9.99, 32), (0.1, 1024)])
def test_slices_are_whole_blocks(took_s: float, more: int) -> None:
    assert more_slices(24, took_s, 10.0) == more


@pytest.mark.parametrize("seconds", [0.0, -1.0, 601.0, float("nan")])
def test_what_is_no_length_is_refused(seconds: float) -> None:
    with pytest.raises(UsageError, match=r"--seconds .* is no length of a run"):
        refuse_seconds(seconds)
