"""Trials: runners that are right, wrong, dying or not there; the fastest sound one; rounds in turns."""

import threading
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from dmn_runtime.certificate.golden import Golden
from dmn_runtime.certificate.tolerance import Tolerance
from dmn_runtime.contract import Certificate, Contract, Domain, Normalisation, Precision
from dmn_runtime.engines import trial
from dmn_runtime.engines.candidates import Candidate
from dmn_runtime.engines.trial import (
    Trial,
    certificate_for,
    examine,
    fastest,
    probabilities,
    ranking,
    timed,
)
from dmn_runtime.errors import EngineError
from dmn_runtime.tiles import sigmoid

CPU, OTHER = Candidate("cpu", "fp32"), Candidate("openvino", "fp32")
TILES = np.random.default_rng(0).normal(size=(3, 1, 8, 8)).astype(np.float32) * 3
GOLDEN = Golden(TILES, sigmoid(TILES))
CERTIFICATE = Certificate(
    engine="cpu",
    library="x",
    device="x",
    tiles=3,
    threshold=0.5,
    max_dp=0.0,
    mean_dp=0.0,
    iou_change=0.0,
    objects=None,
    objects_matched=None,
    tolerance_max_dp=0.01,
    tolerance_iou_change=0.01,
    voxels_per_s=None,
    speedup=None,
    passed=True,
)


def contract_of(*certificates: Certificate) -> Contract:
    return Contract(
        name="x",
        description="x",
        classes=("x",),
        in_channels=1,
        context_slices=0,
        stride_px=1,
        halo_px=0,
        voxel_nm=(1.0, 1.0, 1.0),
        working_voxel_nm=None,
        normalisation=Normalisation(),
        threshold=0.5,
        precisions={"fp32": Precision("weights.onnx", certificates)},
        domain=Domain((0.0,) * 7, 0.1),
    )


CONTRACT = contract_of(CERTIFICATE)


@dataclass
class Fake:
    """A network that returns its input, plus `shift`; dies where it is told to."""

    shift: float = 0.0
    error: Exception | None = None
    description: str = "fake 1.0, no device"
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    threads: set[int] = field(default_factory=set)

    def run(self, tiles: np.ndarray) -> np.ndarray:
        self.shapes.append(tiles.shape)
        self.threads.add(threading.get_ident())
        if self.error is not None:
            raise self.error
        return tiles + np.float32(self.shift)

    def close(self) -> None:
        raise AssertionError("who opened it closes it")


def test_a_right_runner_has_no_fault() -> None:
    found = examine(CONTRACT, CPU, Fake(), GOLDEN)
    assert found.fault is None
    assert found.parity is not None
    assert (found.parity.tiles, found.parity.max_dp) == (3, 0.0)
    assert (found.description, found.threshold) == ("fake 1.0, no device", 0.5)
    assert (found.tolerance, found.voxels_per_s) == (Tolerance(0.01, 0.01), None)


def test_a_wrong_runner_is_told_by_how_much_and_where() -> None:
    found = examine(CONTRACT, CPU, Fake(shift=1.0), GOLDEN)
    assert found.parity is not None
    assert found.fault == (
        f"it does not segment as the package's certificate says: IoU change {found.parity.iou_change:.3g} "
        f"(allowed 0.01), max |dp| {found.parity.max_dp:.2g} (allowed 0.01), worst on tile "
        f"{found.parity.worst_tile + 1} of 3"
    )
    assert found.parity.max_dp == pytest.approx(0.245, abs=0.001)  # steepest at 0: sigmoid(.5) - sigmoid(-.5)


def test_no_number_is_a_fault() -> None:
    assert examine(CONTRACT, CPU, Fake(shift=float("nan")), GOLDEN).fault is not None


def test_a_dying_runner_is_a_fault_and_no_crash() -> None:
    found = examine(CONTRACT, CPU, Fake(error=MemoryError("no\nmemory")), GOLDEN)
    assert found.parity is None
    assert found.fault == "it does not run (MemoryError: no memory)"


def test_an_interrupt_is_no_fault_of_the_engine() -> None:
    with pytest.raises(KeyboardInterrupt):
        examine(CONTRACT, CPU, Fake(error=KeyboardInterrupt()), GOLDEN)  # type: ignore[arg-type]


def test_what_could_not_be_opened_says_why() -> None:
    found = examine(CONTRACT, CPU, EngineError("no driver"), GOLDEN)
    assert (found.fault, found.description, found.parity) == ("no driver", "", None)


def test_a_precision_has_the_threshold_of_its_certificate() -> None:
    lower = replace(CERTIFICATE, threshold=0.25, tolerance_max_dp=1.0)
    shift = float(np.log(0.25 / 0.75))  # sigmoid(x + shift) >= 0.25 where sigmoid(x) >= 0.5
    found = examine(contract_of(lower), CPU, Fake(shift=shift), GOLDEN)
    assert found.fault is None
    assert found.parity is not None
    assert found.parity.iou_change == 0.0
    assert (
        examine(contract_of(replace(lower, threshold=0.5)), CPU, Fake(shift=shift), GOLDEN).fault is not None
    )


def test_the_certificate_is_the_engines_own_or_the_first() -> None:
    first, second = replace(CERTIFICATE, engine="tensorrt"), replace(CERTIFICATE, engine="openvino")
    contract = contract_of(first, second)
    assert certificate_for(contract, OTHER) is second
    assert certificate_for(contract, CPU) is first


def test_tiles_go_through_one_at_a_time() -> None:
    runner = Fake()
    np.testing.assert_array_equal(probabilities(runner, TILES, 0), GOLDEN.probability)
    assert runner.shapes == [(1, 1, 8, 8)] * 3
    np.testing.assert_array_equal(probabilities(runner, TILES, 3), GOLDEN.probability[:, :, 3:5, 3:5])


def test_what_an_engine_says_of_the_halo_does_not_matter() -> None:
    """A plan of TensorRT of one size pads smaller tiles right and below, and answers otherwise there."""

    class Padding(Fake):
        def run(self, tiles: np.ndarray) -> np.ndarray:
            wrong = super().run(tiles)
            wrong[..., -2:, :] += 5.0
            wrong[..., -2:] += 5.0
            return wrong

    core = Golden(TILES, GOLDEN.probability[:, :, 2:6, 2:6])
    assert examine(replace(CONTRACT, halo_px=2), CPU, Padding(), core).fault is None
    core = Golden(TILES, GOLDEN.probability[:, :, 1:7, 1:7])
    assert examine(replace(CONTRACT, halo_px=1), CPU, Padding(), core).fault is not None


@pytest.mark.parametrize("workers", [1, 3])
def test_every_runner_is_timed_in_every_round(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "ROUND_S", 0.0)
    turns: list[Candidate] = []
    plain = trial._round

    def noted(pool: object, runner: object, *more: object) -> float:
        turns.append(next(one for one, known in runners.items() if known is runner))
        return plain(pool, runner, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(trial, "_round", noted)
    runners = {CPU: Fake(), OTHER: Fake()}
    tiles = {CPU: TILES[:1], OTHER: TILES}
    speeds = timed(runners, tiles, workers)
    assert set(speeds) == {CPU, OTHER}
    assert all(isinstance(speed, float) and speed > 0.0 for speed in speeds.values())
    assert turns == [CPU, OTHER] * (1 + trial.ROUNDS)
    for one, runner in runners.items():
        assert runner.shapes == [tiles[one].shape] * (1 + trial.ROUNDS) * workers


def test_the_speed_is_the_median_of_the_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    speeds = iter([99.0, 5.0, 1.0, 3.0])  # the first calls allocate
    monkeypatch.setattr(trial, "_round", lambda *_: next(speeds))
    assert timed({CPU: Fake()}, {CPU: TILES[:1]}, 1) == {CPU: 3.0}


@pytest.mark.parametrize("sound_calls", [0, 2])
def test_who_stops_under_load_is_out_of_the_race(sound_calls: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "ROUND_S", 0.0)
    error = RuntimeError("out of memory")

    class Tiring(Fake):
        def run(self, tiles: np.ndarray) -> np.ndarray:
            if len(self.shapes) == sound_calls:
                self.error = error
            return super().run(tiles)

    runners = {CPU: Tiring(), OTHER: Fake()}
    speeds = timed(runners, dict.fromkeys(runners, TILES), 1)
    assert speeds[CPU] is error
    assert isinstance(speeds[OTHER], float)
    assert len(runners[CPU].shapes) == sound_calls + 1
    assert len(runners[OTHER].shapes) == 1 + trial.ROUNDS


def test_an_interrupt_ends_the_race() -> None:
    with pytest.raises(KeyboardInterrupt):
        timed({CPU: Fake(error=KeyboardInterrupt())}, {CPU: TILES}, 1)  # type: ignore[arg-type]


def test_voxels_are_those_of_one_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 10.0, 10.0])
    monkeypatch.setattr(trial, "perf_counter", lambda: next(clock))
    runner = Fake()
    with trial.ThreadPoolExecutor(1) as pool:
        assert trial._round(pool, runner, np.zeros((1, 3, 8, 5), np.float32), 1) == 8 * 5 / 10


def found(speed: float | None, fault: str | None = None) -> Trial:
    return Trial(CPU, "", 0.5, Tolerance(0.1, 0.1), None, speed, fault)


def test_the_fastest_is_sound() -> None:
    quick, slow, wrong = found(9.0), found(1.0), found(99.0, "it is wrong")
    assert fastest([slow, wrong, quick]) is quick
    assert fastest([wrong]) is None
    assert fastest([]) is None


def test_of_equals_the_first_is_the_fastest() -> None:
    one, other = found(None), found(None)
    assert fastest([one, other]) is one
    assert fastest([found(2.0), found(2.0, "wrong"), found(None)]).voxels_per_s == 2.0  # type: ignore[union-attr]


def raced(engine: str, precision: str, speed: float | None, fault: str | None = None) -> Trial:
    return Trial(Candidate(engine, precision), "", 0.5, Tolerance(0.5, 0.1), None, speed, fault)


@pytest.mark.parametrize(
    ("speed", "runs"), [(1.49e6, ["cpu fp32"]), (1.5e6, ["cpu int8", "cpu fp32"]), (None, ["cpu fp32"])]
)
def test_int8_must_be_worth_its_loss(speed: float | None, runs: list[str]) -> None:
    trials = [raced("cpu", "int8", speed), raced("cpu", "fp32", 1e6)]
    assert [str(trial.candidate) for trial in ranking(trials)] == runs


def test_int8_is_held_against_fp32_of_its_own_engine_alone() -> None:
    slow, other = raced("cpu", "int8", 1.2e6), raced("openvino", "fp32", 1e6)
    assert ranking([slow, other]) == [slow, other]
    assert ranking([slow, other, raced("cpu", "fp32", 1e6)])[0].candidate == other.candidate


def test_int8_that_was_not_raced_with_fp32_runs() -> None:
    alone = raced("cpu", "int8", None)
    assert ranking([alone, raced("cpu", "fp32", None)])[0] is alone
    assert ranking([alone]) == [alone]
    assert fastest([alone]) is alone


@pytest.mark.parametrize("precision", ["fp16", "bf16", "int8-trt"])
def test_other_precisions_need_not_gain(precision: str) -> None:
    exact, other = raced("gpu", "fp32", 1e6), raced("gpu", precision, 0.9e6)
    assert ranking([other, exact]) == [exact, other]


def test_the_ranking_is_by_speed() -> None:
    trials = [raced("a", "fp32", 1.0), raced("b", "fp32", 3.0), raced("c", "fp32", 9.0, "wrong")]
    assert [trial.candidate.engine for trial in ranking(trials)] == ["b", "a"]
