"""The choice of an engine: the fastest that is sound; faults are said aloud; what is known is not redone."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from dmn_runtime.engines import choose as module
from dmn_runtime.engines import remembered
from dmn_runtime.engines.candidates import Candidate
from dmn_runtime.engines.choose import Wish, choose, examined, open_engine, opened, order_for, read_edge_px
from dmn_runtime.errors import CertificateError, EngineError, MissingMember
from dmn_runtime.package import Package, open_package
from dmn_runtime.plan import Footprint

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
    assert table.opened == ["one fp32", "new fp32"]


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
    cache.write_text("no folder")
    fleet.install(monkeypatch, one=fleet.Model())
    assert choose(package, WISH, said.append).candidate.engine == "one"
    assert said[-1].startswith("warning: the finding is not kept and will be made again: ")


def test_examined_again_when_that_is_asked_for(
    package: Package, fleet: ModuleType, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    table = fleet.install(monkeypatch, one=fleet.Model())
    wanted = [Candidate("one", "fp32")]
    for again in (False, False, True):
        examined(package, wanted, WISH, said.append, again=again)
    assert table.opened == ["one fp32"] * 2
    assert examined(package, [], WISH, said.append) == ()


def test_runners_are_closed_where_golden_tiles_or_timing_fail(
    package: Package, fleet: ModuleType, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    table = fleet.install(monkeypatch, one=fleet.Model(), other=fleet.Model())

    def interrupted(*_: object) -> dict[Candidate, float]:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "timed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        choose(package, WISH, said.append)
    assert [runner.closed for runner in table.runners] == [1, 1]


def test_a_package_without_golden_tiles_cannot_be_examined(
    package: Package, fleet: ModuleType, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    fleet.install(monkeypatch, one=fleet.Model())
    members = {name: sha for name, sha in package.contract.members.items() if not name.startswith("golden")}
    bare = replace(package, contract=replace(package.contract, members=members))
    with pytest.raises(MissingMember, match=r"golden_input\.npy"):
        choose(bare, WISH, said.append)


def test_the_edge_of_the_largest_tile_is_a_multiple_of_the_stride(package: Package) -> None:
    contract = replace(package.contract, stride_px=16, halo_px=32)
    assert read_edge_px(contract, 100) == 112 + 64
    assert read_edge_px(contract, None) == 1024 + 64


def test_the_timed_tile_is_real_tissue_of_a_fair_size(package: Package, said: list[str]) -> None:
    golden = module.read_golden(package)
    for tile_px, edge in ((None, 512), (64, 76)):
        order = order_for(package, Candidate("cpu", "fp32"), replace(WISH, tile_px=tile_px), said.append)
        tile = module.timed_tile(golden, order)
        assert tile.shape == (1, 1, edge, edge)
        assert tile.flags.c_contiguous
        np.testing.assert_array_equal(tile[..., :32, :32], golden.tiles[:1])
        assert np.unique(tile).size > 100


def test_the_chosen_engine_opens_and_segments(
    package: Package, fleet: ModuleType, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    table = fleet.install(monkeypatch, one=fleet.Model(), other=fleet.Model(speed=fleet.FAST))
    choice = choose(package, WISH, said.append)
    grey = np.linspace(-2, 2, 256).astype(np.float32)
    engine = open_engine(package, choice, WISH, grey, Footprint(2, 6, 0), said.append)
    assert (engine.name, engine.description) == ("other", "fp32 by other 1.0, no device")
    assert engine.segment(np.zeros((2, 24, 24), np.uint8)).shape == (2, 12, 12)
    engine.close()
    assert table.runners[-1].closed == 1


def test_opening_returns_the_users_faults_and_raises_ours(
    package: Package, fleet: ModuleType, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    fleet.install(monkeypatch, one=fleet.Model(refuses="no driver"))
    one = Candidate("one", "fp32")
    assert isinstance(opened(one, order_for(package, one, WISH, said.append)), EngineError)

    def bug(_: object) -> None:
        raise ZeroDivisionError

    broken = replace(module.KINDS[0], open=bug)
    monkeypatch.setattr(module, "kind_of", lambda _: broken)
    with pytest.raises(ZeroDivisionError):
        opened(one, order_for(package, one, WISH, said.append))
