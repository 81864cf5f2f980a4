"""The choice of an engine: the fastest that is sound; faults are said aloud; what is known is not redone."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from dmn_runtime.engines import remembered
from dmn_runtime.engines.candidates import Candidate
from dmn_runtime.engines.choose import Choice, choose, open_best
from dmn_runtime.engines.examination import Wish, state_for
from dmn_runtime.engines.openvino import has_bfloat16
from dmn_runtime.errors import CertificateError, EngineError
from dmn_runtime.extras import is_present
from dmn_runtime.package import Package, open_package, resolve_package

WISH = Wish(workers=2)


@pytest.fixture
def package(small_package: Callable[..., Path], cache: Path) -> Package:
    """Return a package that nothing is remembered of."""
    assert not cache.exists()
    return open_package(small_package())


@pytest.fixture
def said() -> list[str]:
    return []


def test_the_fastest_sound_engine_runs_and_says_why(
    package: Package, fleet: ModuleType, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    table = fleet.install(
        monkeypatch, quick=fleet.Model(speed=4e6), slow=fleet.Model(), middle=fleet.Model(speed=2e6)
    )
    choice = choose(package, WISH, said.append)
    assert choice.candidate == Candidate("quick", "fp32")
    assert choice.reason == (
        "quick fp32, the fastest here at 4.00 Mvoxel/s of the network alone "
        "(middle fp32 2.00, slow fp32 1.00)"
    )
    assert said == [
        "examining engines, once for this package on this machine: quick fp32, slow fp32, middle fp32"
    ]
    assert [trial.voxels_per_s for trial in choice.trials] == [4e6, 1e6, 2e6]
    assert [runner.closed for runner in table.runners] == [1, 1, 1]


def test_a_faster_engine_that_fails_on_the_owners_volume_is_told_as_refused(
    package: Package, fleet: ModuleType, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    fleet.install(monkeypatch, quick=fleet.Model(speed=4e6), slow=fleet.Model())
    remembered.remember_faults(
        state_for(package, WISH), {Candidate("quick", "fp32"): "on your volume it fails"}
    )
    choice = choose(package, WISH, said.append)
    assert choice.reason == (
        "slow fp32, the fastest here at 1.00 Mvoxel/s of the network alone (quick fp32 4.00 but refused)"
    )


def test_speed_decides_and_not_the_table(
    package: Package, fleet: ModuleType, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    fleet.install(monkeypatch, first=fleet.Model(), last=fleet.Model(speed=fleet.FAST))
    assert choose(package, WISH, said.append).candidate.engine == "last"


def test_the_only_engine_is_not_raced(
    package: Package, fleet: ModuleType, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    table = fleet.install(monkeypatch, only=fleet.Model(), other=fleet.Model(absent="no driver"))
    choice = choose(package, WISH, said.append)
    assert choice.reason == "only fp32, the only one in question"
    assert table.timed == []
    assert table.opened == ["only fp32"]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("spoil", "it does not segment as the package's certificate says: IoU change"),
        ("dying", "it does not run (RuntimeError: CUDA error: out of memory)"),
        ("refuses", "the driver is too old"),
    ],
)
def test_a_faulty_engine_is_said_aloud_and_never_raced(
    package: Package,
    fleet: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    said: list[str],
    fault: str,
    words: str,
) -> None:
    faulty = {
        "spoil": fleet.Model(spoil=fleet.shifted, speed=99e6),
        "dying": fleet.Model(spoil=fleet.dying, speed=99e6),
        "refuses": fleet.Model(refuses="the driver is too old", speed=99e6),
    }[fault]
    table = fleet.install(monkeypatch, faulty=faulty, slow=fleet.Model(), quick=fleet.Model(speed=fleet.FAST))
    choice = choose(package, WISH, said.append)
    assert choice.candidate.engine == "quick"
    [warning] = [sentence for sentence in said if sentence.startswith("warning")]
    assert warning.startswith(f"warning: faulty fp32 is not used: {words}")
    assert table.timed == [("slow fp32", "quick fp32")]
    assert all(runner.closed == 1 for runner in table.runners)


def test_strict_refuses_instead(
    package: Package, fleet: ModuleType, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    fleet.install(monkeypatch, faulty=fleet.Model(refuses="the driver is too old"), sound=fleet.Model())
    strict = replace(WISH, strict=True)
    with pytest.raises(CertificateError) as caught:
        choose(package, strict, said.append)
    assert str(caught.value) == (
        "faulty fp32 is refused: the driver is too old; without --strict another would run"
    )
    assert choose(package, replace(strict, engine="sound"), said.append).candidate.engine == "sound"


def test_an_engine_that_was_asked_for_falls_back_along_the_table_aloud(
    package: Package, fleet: ModuleType, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    table = fleet.install(
        monkeypatch,
        above=fleet.Model(speed=99e6),
        asked=fleet.Model(spoil=fleet.shifted),
        also=fleet.Model(refuses="out of memory"),
        away=fleet.Model(absent="it is not installed"),
        last=fleet.Model(),
    )
    choice = choose(package, replace(WISH, engine="asked"), said.append)
    assert choice.candidate == Candidate("last", "fp32")
    assert [trial.candidate.engine for trial in choice.trials] == ["asked", "also", "last"]
    assert table.opened == ["asked fp32", "also fp32", "last fp32"]  # none above it in the table
    warnings = [sentence for sentence in said if sentence.startswith("warning")]
    assert [sentence.partition(":")[2][:10] for sentence in warnings] == [
        " asked fp3",
        " also fp32",
        " last fp32",
    ]
    assert warnings[-1] == "warning: last fp32 runs instead"


def test_another_precision_of_the_engine_falls_back_to_its_own_fp32(
    package: Package,
    fleet: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    said: list[str],
    tmp_path: Path,
) -> None:
    both = fleet.with_precisions(package.path, {"fp16": package.network()}, tmp_path / "both.zip")
    wrong = np.float32(3.0)
    table = fleet.install(
        monkeypatch,
        gpu=fleet.Model(("fp16", "fp32"), spoil=lambda logits: logits + wrong, speed=fleet.FAST),
        cpu=fleet.Model(),
    )

    def say(sentence: str) -> None:
        nonlocal wrong
        said.append(sentence)
        if sentence.startswith("warning: gpu fp16 is not used"):
            wrong = np.float32(0.0)  # it is fp16 alone that was wrong

    choice = choose(both, replace(WISH, precision="fp16"), say)
    assert table.opened == ["gpu fp16", "gpu fp32", "cpu fp32"]
    assert choice.candidate == Candidate("gpu", "fp32")


def test_where_every_engine_fails_nothing_runs(
    package: Package, fleet: ModuleType, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    fleet.install(monkeypatch, one=fleet.Model(spoil=fleet.shifted), other=fleet.Model(refuses="no"))
    with pytest.raises(CertificateError) as caught:
        choose(package, WISH, said.append)
    assert str(caught.value).startswith(
        f"no engine on this machine gives the segmentation of {package.path}: run dmn doctor"
    )
    assert "\n" not in str(caught.value)
    with pytest.raises(CertificateError, match="no engine on this machine"):
        choose(package, replace(WISH, engine="other"), said.append)


def test_a_package_whose_answers_no_engine_gives(
    small_package: Callable[..., Path], cache: Path, said: list[str]
) -> None:
    del cache
    with pytest.raises(CertificateError, match="no engine on this machine"):
        choose(open_package(small_package(shift=0.1)), replace(WISH, engine="cpu"), said.append)
    assert any(sentence.startswith("warning: cpu fp32 is not used") for sentence in said)


def test_what_was_asked_and_cannot_be_is_an_error(
    package: Package, fleet: ModuleType, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    fleet.install(monkeypatch, one=fleet.Model(), away=fleet.Model(absent="it is not installed"))
    with pytest.raises(EngineError, match="the engine away cannot run here: it is not installed"):
        choose(package, replace(WISH, engine="away"), said.append)
    assert said == []


def test_what_is_remembered_is_not_examined_again(
    package: Package, fleet: ModuleType, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    table = fleet.install(
        monkeypatch, one=fleet.Model(spoil=fleet.shifted), other=fleet.Model(), more=fleet.Model()
    )
    first = choose(package, WISH, said.append)
    table.opened.clear()
    said.clear()
    again = choose(package, WISH, said.append)
    assert again == first
    assert table.opened == []
    [warning] = said  # a fault is said every time
    assert warning.startswith("warning: one fp32 is not used")
    part = choose(package, replace(WISH, engine="more"), said.append)
    assert (part.candidate.engine, table.opened) == ("more", [])


def test_a_fault_that_is_remembered_falls_back_without_examination(
    package: Package, fleet: ModuleType, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    table = fleet.install(monkeypatch, one=fleet.Model(spoil=fleet.shifted), other=fleet.Model())
    wish = replace(WISH, engine="one")
    assert choose(package, wish, said.append).candidate.engine == "other"
    table.opened.clear()
    assert choose(package, wish, said.append).candidate.engine == "other"
    assert table.opened == []


def test_one_more_engine_makes_all_run_side_by_side_again(
    package: Package, fleet: ModuleType, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    table = fleet.install(monkeypatch, one=fleet.Model(), new=fleet.Model(absent="not yet installed"))
    choose(package, WISH, said.append)
    table.models["new"].absent = None
    table.models["new"].speed = fleet.FAST
    table.opened.clear()
    assert choose(package, WISH, said.append).candidate.engine == "new"
    assert table.opened == ["new fp32", "one fp32", "new fp32"]  # it is tried first


def test_a_changed_state_is_examined_again(
    package: Package, fleet: ModuleType, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    table = fleet.install(monkeypatch, one=fleet.Model())
    choose(package, WISH, said.append)
    choose(package, replace(WISH, workers=3), said.append)
    choose(package, replace(WISH, tile_px=64), said.append)
    monkeypatch.setattr(remembered, "cpu_model", lambda: "Another CPU")
    choose(package, WISH, said.append)
    choose(package, WISH, said.append)
    assert table.opened == ["one fp32"] * 4


def test_a_driver_that_went_bad_is_found_out_by_its_new_version(
    package: Package, fleet: ModuleType, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    model = fleet.Model(speed=fleet.FAST)
    fleet.install(monkeypatch, gpu=model, cpu=fleet.Model())
    assert choose(package, WISH, said.append).candidate.engine == "gpu"
    model.spoil = fleet.shifted
    plain = remembered._version
    monkeypatch.setattr(remembered, "_version", lambda name: "9" if name == "tensorrt-cu13" else plain(name))
    assert choose(package, WISH, said.append).candidate.engine == "cpu"
    assert any(sentence.startswith("warning: gpu fp32 is not used") for sentence in said)


def test_a_finding_that_cannot_be_kept_is_said_and_used(
    package: Package, fleet: ModuleType, monkeypatch: pytest.MonkeyPatch, said: list[str], cache: Path
) -> None:
    cache.mkdir()
    (cache / "machine").write_text("no folder")
    fleet.install(monkeypatch, one=fleet.Model())
    assert choose(package, WISH, said.append).candidate.engine == "one"
    assert said[-1].startswith("warning: the finding is not kept and will be made again: ")


# Two precisions


@pytest.fixture
def with_int8(package: Package, fleet: ModuleType, tmp_path: Path) -> Package:
    """Return a package that holds int8, too."""
    made: Package = fleet.with_precisions(package.path, {"int8": package.network()}, tmp_path / "int8.zip")
    return made


@pytest.mark.parametrize(("speed", "runs"), [(1.4e6, "cpu fp32"), (1.6e6, "cpu int8")])
def test_int8_that_gains_too_little_does_not_run_and_is_no_fault(
    with_int8: Package,
    fleet: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    said: list[str],
    speed: float,
    runs: str,
) -> None:
    fleet.install(monkeypatch, cpu=fleet.Model(("int8", "fp32"), speeds={"int8": speed}))
    choice = choose(with_int8, replace(WISH, strict=True), said.append)
    assert str(choice.candidate) == runs
    assert [trial.fault for trial in choice.trials] == [None, None]
    assert len(said) == 1  # that they are examined
    # What was passed over though it is faster is told apart from what is slower.
    assert ("too little a gain for its loss" in choice.reason) == (runs == "cpu fp32")


def test_int8_that_was_asked_for_alone_runs(
    with_int8: Package, fleet: ModuleType, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    fleet.install(monkeypatch, cpu=fleet.Model(("int8", "fp32"), speeds={"int8": 0.9e6}))
    assert str(choose(with_int8, replace(WISH, precision="int8"), said.append).candidate) == "cpu int8"
    assert str(choose(with_int8, WISH, said.append).candidate) == "cpu fp32"


def test_arithmetic_that_the_processor_lacks_is_no_candidate(
    with_int8: Package, fleet: ModuleType, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    table = fleet.install(monkeypatch, cpu=fleet.Model(("int8", "fp32"), lacks=("int8",)))
    assert str(choose(with_int8, WISH, said.append).candidate) == "cpu fp32"
    assert table.opened == ["cpu fp32"]
    with pytest.raises(EngineError, match="no engine here runs the precision int8"):
        choose(with_int8, replace(WISH, precision="int8"), said.append)


# Opening what was chosen


def chosen(package: Package, wish: Wish, say: Callable[[str], None]) -> Choice:
    choice = choose(package, wish, say)
    assert choice.candidate.engine == "quick"
    return choice


def test_the_chosen_engine_opens(
    package: Package, fleet: ModuleType, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    table = fleet.install(monkeypatch, slow=fleet.Model(), quick=fleet.Model(speed=fleet.FAST))
    choice = chosen(package, WISH, said.append)
    table.runners.clear()
    opened, runner = open_best(package, choice, WISH, said.append)
    assert opened is choice or opened == choice
    assert (table.runners, runner.closed) == ([runner], 0)
    assert runner.description == "quick 1.0, no device"


@pytest.mark.parametrize("error", ["the GPU is in use", RuntimeError("the GPU is\nin use")], ids=str)
def test_an_engine_that_cannot_be_opened_any_more_gives_way_aloud(
    package: Package,
    fleet: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    said: list[str],
    error: str | Exception,
) -> None:
    table = fleet.install(
        monkeypatch, slow=fleet.Model(), quick=fleet.Model(speed=fleet.FAST), middle=fleet.Model(speed=5e6)
    )
    choice = chosen(package, WISH, said.append)
    table.models["quick"].refuses = error
    said.clear()
    opened, runner = open_best(package, choice, WISH, said.append)
    assert str(opened.candidate) == "middle fp32"
    assert opened.reason == "middle fp32, since quick fp32 does not run"
    assert opened.trials == choice.trials
    assert runner is table.runners[-1]
    [warning] = said
    assert warning.startswith("warning: quick fp32 is not used: ")
    assert "the GPU is in use" in warning
    with pytest.raises(
        CertificateError, match=r"^quick fp32 is refused: .*the GPU is in use\)?; without --strict"
    ):
        open_best(package, choice, replace(WISH, strict=True), said.append)


def test_where_none_can_be_opened_any_more_nothing_runs(
    package: Package, fleet: ModuleType, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    table = fleet.install(monkeypatch, quick=fleet.Model(speed=fleet.FAST), slow=fleet.Model())
    choice = chosen(package, WISH, said.append)
    for model in table.models.values():
        model.refuses = "out of memory"
    with pytest.raises(CertificateError, match="no engine on this machine gives the segmentation of"):
        open_best(package, choice, WISH, said.append)


@pytest.mark.parametrize(("spoilt", "runs"), [(False, "quick"), (True, "slow")])
def test_another_plan_than_was_examined_is_examined_first(
    package: Package,
    fleet: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    said: list[str],
    spoilt: bool,
    runs: str,
) -> None:
    table = fleet.install(monkeypatch, quick=fleet.Model(speed=fleet.FAST), slow=fleet.Model())
    choice = chosen(package, WISH, said.append)
    model = table.models["quick"]
    model.plan = "another plan"
    if spoilt:
        model.spoil = fleet.shifted
    table.runners.clear()
    said.clear()
    opened, runner = open_best(package, choice, WISH, said.append)
    assert opened.candidate.engine == runs
    assert opened.trial.description == runner.description
    assert [other.closed for other in table.runners] == ([1, 0] if spoilt else [0])
    assert len(said) == spoilt
    if spoilt:
        assert said[0].startswith("warning: quick fp32 is not used: it does not segment")
        with pytest.raises(CertificateError, match="quick fp32 is refused: it does not segment"):
            open_best(package, choice, replace(WISH, strict=True), said.append)
        assert table.runners[-1].closed == 1
    else:
        assert opened.trial.parity is not None
        assert opened.reason == choice.reason


def test_the_runner_is_closed_where_its_examination_is_interrupted(
    package: Package, fleet: ModuleType, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    def interrupted(_: np.ndarray) -> np.ndarray:
        raise KeyboardInterrupt

    table = fleet.install(monkeypatch, quick=fleet.Model(speed=fleet.FAST))
    choice = chosen(package, WISH, said.append)
    table.models["quick"].plan = "another plan"
    table.models["quick"].spoil = interrupted
    with pytest.raises(KeyboardInterrupt):
        open_best(package, choice, WISH, said.append)
    assert [runner.closed for runner in table.runners] == [1, 1]


# For real


def test_the_embedded_package_passes_on_every_engine_of_this_machine(cache: Path, said: list[str]) -> None:
    assert not cache.exists()
    demo = open_package(resolve_package("demo"))
    wish = Wish(workers=1, strict=True)
    choice = choose(demo, wish, said.append)
    assert [trial.fault for trial in choice.trials] == [None] * len(choice.trials)
    held = {str(trial.candidate) for trial in choice.trials}
    assert "cpu fp32" in held
    if is_present("openvino"):
        assert "openvino fp32" in held
        assert ("openvino bf16" in held) == has_bfloat16()
    opened, runner = open_best(demo, choice, wish, said.append)
    runner.close()
    assert opened == choice
    assert len(said) == 1
