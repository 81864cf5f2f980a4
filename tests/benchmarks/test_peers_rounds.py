"""The contest goes round by round, resumes where it stopped, and tells what could not be measured."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from contest import rounds
from contest.environments import Environment
from contest.material import Material, Student
from contest.roster import ON_CPU, Contestant, eligible
from contest.rounds import Contest, Course, in_turn
from contest.store import Store, begin, load

from dmn_runtime.errors import EngineError, UsageError
from dmn_runtime.package import open_package, resolve_package

ECHO = """
import json, sys
import numpy as np
job = json.load(open(sys.argv[1]))
if "choices" in job:
    result = {"trials": [{"settings": one, "seconds": one["takes"]} for one in job["choices"]]}
else:
    if job["settings"].get("fails"):
        raise SystemExit("it has no heart for it")
    np.save(job["probability"], np.zeros(np.load(job["volume"]).shape, np.float32))
    result = {"seconds": job["settings"].get("takes", 1.0), "computed_px": None, "detail": {}}
json.dump(result, open(job["result"], "w"))
"""


def contestant(name: str, *choices: dict[str, object]) -> Contestant:
    return Contestant(name, name, "torch", "torch_slices", choices)


@pytest.fixture
def course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Course:
    (tmp_path / "torch_slices.py").write_text(ECHO, encoding="utf-8")
    monkeypatch.setattr(rounds, "CHILDREN", tmp_path)
    monkeypatch.setattr(rounds, "equality", lambda *_: {"max_dp": 0.0, "settled": True, "max_grey": 0})
    folder = tmp_path / "scratch" / "v-s"
    folder.mkdir(parents=True)
    np.save(folder / "voxels.npy", np.zeros((2, 136, 136), np.uint8))
    table = [0.0] * 256
    material = Material(folder / "voxels.npy", (2, 136, 136), (50.0, 10.0, 10.0), table, None)
    student = Student("s", open_package(resolve_package("demo")), folder / "none", {"levels": 3}, "0")
    return Course("v", "s", material, student, folder)


def contest(course: Course, store: Store, *roster: Contestant) -> tuple[Contest, list[str]]:
    said: list[str] = []
    here = {"torch": Environment("torch", {}, None, Path(sys.executable))}
    return Contest((course,), roster, here, "cpu", 1, 60.0, store, said.append), said


def empty(tmp_path: Path) -> Store:
    return begin(tmp_path / "out.json", {"a": 1}, {"cpu": "x"}, fresh=False)


def test_rounds_are_measured_once_and_the_rest_later(course: Course, tmp_path: Path) -> None:
    slow, fast = contestant("slow", {"takes": 4.0}), contestant("fast", {"takes": 0.5})
    one, said = contest(course, empty(tmp_path), slow, fast)
    one.run(1)
    assert len(said) == 2
    again, said = contest(course, empty(tmp_path), slow, fast)
    again.run(2)
    assert len(said) == 2
    assert all(line.startswith("round 2 v s ") for line in said)
    kept = load(tmp_path / "out.json")
    found = sorted((r["contestant"], r["round"], r["seconds"]) for r in kept.measurements)
    assert found == [("fast", 0, 0.5), ("fast", 1, 0.5), ("slow", 0, 4.0), ("slow", 1, 4.0)]
    assert len(kept.accuracy) == 2
    assert len(kept.equality) == 1


def test_the_fastest_settings_are_taken(course: Course, tmp_path: Path) -> None:
    several = contestant("several", {"takes": 3.0}, {"takes": 1.0}, {"takes": 2.0})
    store = empty(tmp_path)
    contest(course, store, several)[0].run(2)
    assert [one["chosen"] for one in store.trials] == [{"takes": 1.0}]
    assert [one["settings"] for one in store.measurements] == [{"takes": 1.0}] * 2


def test_who_fails_is_left_out_with_its_last_word(course: Course, tmp_path: Path) -> None:
    store = empty(tmp_path)
    one, said = contest(course, store, contestant("ill", {"fails": True}), contestant("well", {}))
    one.run(2)
    assert [(r["contestant"], r["why"]) for r in store.left_out] == [
        ("ill", "it has no heart for it (exit status 1)")
    ]
    assert [r["contestant"] for r in store.measurements] == ["well", "well"]
    assert sum("left out" in line for line in said) == 1


def test_without_the_untiled_result_there_is_no_contest(course: Course, tmp_path: Path) -> None:
    (tmp_path / "torch_slices.py").write_text("raise SystemExit('no torch')", encoding="utf-8")
    with pytest.raises(EngineError, match=r"cannot run the student s on v .no torch"):
        contest(course, empty(tmp_path), contestant("well", {}))[0].run(1)


def test_a_precision_that_is_not_held_is_left_out(course: Course, tmp_path: Path) -> None:
    store = empty(tmp_path)
    asked = Contestant("odd", "", "torch", "torch_slices", ({},), precision="int3")
    contest(course, store, asked)[0].run(1)
    assert store.left_out[0]["why"].startswith("the package holds no int3")


def test_nobody_always_begins() -> None:
    three = [contestant(name, {}) for name in "abc"]
    orders = ["".join(one.name for one in in_turn(three, turn)) for turn in range(4)]
    assert orders == ["abc", "bca", "cab", "abc"]


def test_windows_that_cover_the_slice_do_not_slide() -> None:
    by_name = {one.name: one for one in ON_CPU}
    gaussian, single = by_name["monai-gaussian"], by_name["monai-one-window"]
    assert {one["roi_px"] for one in eligible(gaussian, (472, 472))} == {256}
    assert {one["roi_px"] for one in eligible(gaussian, (384, 513))} == {256, 512}
    assert {one["roi_px"] for one in eligible(gaussian, (100, 200))} == {256, 512, 1024}
    assert [one["roi_px"] for one in eligible(single, (472, 472))] == [512]
    assert eligible(single, (472, 4000)) == ()


def test_a_contest_asked_otherwise_is_another_one(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    begin(path, {"cores": 2}, {"cpu": "x"}, fresh=False).save()
    with pytest.raises(UsageError, match="measured with another cores"):
        begin(path, {"cores": 1}, {"cpu": "x"}, fresh=False)
    with pytest.raises(UsageError, match="measured with another cpu"):
        begin(path, {"cores": 2}, {"cpu": "y"}, fresh=False)
    assert begin(path, {"cores": 1}, {"cpu": "y"}, fresh=True).config == {"cores": 1}


@pytest.mark.parametrize("content", ["", "{}", json.dumps({"format": "dmn-peers", "format_version": 1})])
def test_a_damaged_contest_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "out.json").write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match="is damaged"):
        load(tmp_path / "out.json")


def test_networks_that_differ_are_told(
    course: Course, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "equality", lambda *_: {"max_dp": 0.5, "settled": False, "max_grey": 128})
    one, said = contest(course, empty(tmp_path), contestant("well", {}))
    one.run(1)
    assert said[0] == "v s: not settled, so nothing will be judged: ONNX and PyTorch differ by 5.0e-01"
