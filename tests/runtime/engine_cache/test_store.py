"""What is wrong with an entry is healed; what its record does not vouch for is never used."""

import hashlib
import json
import os
import shutil
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dmn_runtime.engine_cache import reading
from dmn_runtime.errors import EngineError

from .conftest import KEY, LABEL

SECOND = b"plan of the second build, of another length"


@pytest.fixture
def filled(workshop):
    """Return the workshop with one engine in its cache; the next build gives another plan."""
    workshop.obtain()
    workshop.plan, workshop.first = SECOND, workshop.plan
    workshop.checked.clear()
    return workshop


def test_the_first_time_it_is_built_and_kept(workshop):
    obtained = workshop.obtain()
    assert (obtained.plan, obtained.how) == (workshop.plan, "built")
    assert obtained.why == "the engine cache has none"
    assert workshop.names() == [KEY.digest]
    assert sorted(path.name for path in workshop.entry().iterdir()) == ["engine.plan", "record.json"]
    record = json.loads((workshop.entry() / "record.json").read_bytes())
    assert record["plan_sha256"] == hashlib.sha256(workshop.plan).hexdigest()
    assert record["plan_bytes"] == len(workshop.plan)
    assert record["label"] == {"package": LABEL.package, "package_sha256": LABEL.package_sha256}


def test_the_second_time_it_is_read(filled):
    obtained = filled.obtain()
    assert (obtained.plan, obtained.how) == (filled.first, "cached")
    assert filled.builds == 1
    assert filled.checked == [filled.first]


@pytest.mark.parametrize("name", ["driver", "library_version", "device"])
def test_another_driver_library_or_gpu_has_an_engine_of_its_own(filled, name):
    obtained = filled.obtain(replace(KEY, **{name: "other"}))
    assert (obtained.plan, obtained.how) == (SECOND, "built")
    assert filled.obtain().plan == filled.first


def is_healed(workshop, words):
    """Check that the entry is rebuilt, that only the new plan was loaded, and that all is well then."""
    names = workshop.names()
    obtained = workshop.obtain()
    assert (obtained.plan, obtained.how) == (SECOND, "rebuilt")
    assert words in obtained.why
    assert workshop.checked == [SECOND]
    assert workshop.names() == names
    again = workshop.obtain()
    assert (again.plan, again.how) == (SECOND, "cached")
    assert workshop.builds == 2


def corrupt(entry):
    plan = bytearray((entry / "engine.plan").read_bytes())
    plan[100:110] = bytes(10)
    (entry / "engine.plan").write_bytes(plan)


def truncated(entry):
    os.truncate(entry / "engine.plan", 100)


def lengthened(entry):
    with (entry / "engine.plan").open("ab") as file:
        file.write(b"more")


def edit_record(entry, **changes):
    """Change fields of the record, or of its key, as somebody with an editor would."""
    record = json.loads((entry / "record.json").read_bytes())
    for name, value in changes.items():
        place = record["key"] if name in record["key"] else record
        place[name] = value
    (entry / "record.json").write_text(json.dumps(record))


def in_place_of(path, make):
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    make(path)


FAULTS = {
    "corrupt": (corrupt, "its plan was changed after it was built"),
    "truncated": (truncated, "its plan is cut short: 100 of 920 bytes"),
    "lengthened": (lengthened, "its plan is longer than the 920 bytes recorded"),
    "foreign version": (
        lambda entry: edit_record(entry, library_version="1.6.0"),
        "foreign engine: library version 1.6.0 where 1.7.1.116 is wanted",
    ),
    "foreign GPU": (
        lambda entry: edit_record(entry, device="NVIDIA RTX A2000, 8.6"),
        "foreign engine: GPU NVIDIA RTX A2000, 8.6 where NVIDIA RTX A4000, 8.6 is wanted",
    ),
    "foreign driver": (lambda entry: edit_record(entry, driver="570.1"), "driver 570.1 where 581.15 is"),
    "tampered record": (lambda entry: edit_record(entry, plan_sha256="e" * 64), "its plan was changed"),
    "tampered size": (lambda entry: edit_record(entry, plan_bytes=919), "longer than the 919 bytes"),
    "newer record": (lambda entry: edit_record(entry, format_version=2), "its record is of another format"),
    "no record": (lambda entry: (entry / "record.json").unlink(), "its record is missing"),
    "no plan": (lambda entry: (entry / "engine.plan").unlink(), "its plan is missing"),
    "an empty folder": (lambda entry: in_place_of(entry, lambda path: path.mkdir()), "its record is missing"),
    "a file in the way": (lambda entry: in_place_of(entry, lambda path: path.touch()), "its record is miss"),
    "a folder as record": (
        lambda entry: in_place_of(entry / "record.json", lambda path: path.mkdir()),
        "its record is missing",
    ),
    "binary record": (lambda entry: (entry / "record.json").write_bytes(b"\xff" * 9), "not readable JSON"),
    "huge record": (
        lambda entry: (entry / "record.json").write_bytes(b" " * 1_000_001),
        "its record is larger than 1,000,000 bytes",
    ),
}


@pytest.mark.parametrize("fault", list(FAULTS))
def test_a_fault_is_healed(filled, fault):
    damage, words = FAULTS[fault]
    damage(filled.entry())
    is_healed(filled, words)


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_a_dead_link_in_the_way_is_healed(filled, tmp_path):
    in_place_of(filled.entry(), lambda path: path.symlink_to(tmp_path / "nowhere"))
    is_healed(filled, "its record is missing")


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_a_linked_folder_is_let_go_and_not_emptied(filled, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    filled.entry().rename(elsewhere)
    corrupt(elsewhere)
    filled.entry().symlink_to(elsewhere)
    is_healed(filled, "its plan was changed")
    assert sorted(path.name for path in elsewhere.iterdir()) == ["engine.plan", "record.json"]


@pytest.mark.parametrize("swapped", [("engine.plan",), ("record.json",), ("engine.plan", "record.json")])
def test_files_of_another_entry_are_never_used(filled, swapped):
    other = replace(KEY, device="NVIDIA RTX 5090, 12.0")
    filled.plan = b"plan for another GPU" * 46  # of the same length
    filled.obtain(other)
    for name in swapped:
        shutil.copyfile(filled.entry(other) / name, filled.entry() / name)
    filled.plan, filled.builds = SECOND, 1
    filled.checked.clear()
    is_healed(filled, "foreign engine: GPU" if "record.json" in swapped else "its plan was changed")


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="files have no owner's number here")
def test_files_of_another_user_are_not_believed(filled):
    with pytest.raises(reading.Damaged, match="record belongs to another user"):
        reading.read_plan(filled.entry(), KEY, frozenset({os.geteuid() + 1}))
    assert reading.read_plan(filled.entry(), KEY, frozenset({os.geteuid()})) == filled.first


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="files have no owner's number here")
def test_whose_files_are_believed(workshop):
    assert reading.trusted_uids(workshop.folder) == {0, os.geteuid()}
    assert reading.trusted_uids(workshop.folder.parent) == {
        0,
        os.geteuid(),
        workshop.folder.parent.stat().st_uid,
    }


def test_a_plan_that_the_library_refuses_is_built_again(filled):
    filled.refused.add(filled.first)
    obtained = filled.obtain()
    assert (obtained.plan, obtained.how) == (SECOND, "rebuilt")
    assert "tensorrt_rtx refuses it (the library returned no engine)" in obtained.why
    assert filled.obtain().how == "cached"


def test_a_fresh_plan_that_is_refused_is_an_error_and_nothing_is_kept(workshop):
    workshop.refused.add(workshop.plan)
    with pytest.raises(EngineError, match=r"just built of mito-s16 \(fp16, tensorrt_rtx\) is refused"):
        workshop.obtain()
    assert workshop.names() == []


def test_a_build_that_fails_leaves_nothing(workshop):
    def build(path):
        path.write_bytes(b"half")
        raise EngineError("the network has an operator that the library does not know")

    with pytest.raises(EngineError, match="does not know"):
        workshop.obtain(build=build)
    assert workshop.names() == []


@pytest.mark.parametrize("build", [lambda path: None, lambda path: path.touch(), lambda path: path.mkdir()])
def test_a_build_without_a_plan_is_an_error(workshop, build):
    with pytest.raises(EngineError, match="ended without a plan"):
        workshop.obtain(build=build)
    assert workshop.names() == []


def test_a_failed_build_leaves_the_older_engine(filled):
    filled.refused |= {filled.first, SECOND}
    with pytest.raises(EngineError):
        filled.obtain()
    filled.refused.clear()
    assert filled.obtain().plan == filled.first


def test_what_is_not_ours_in_the_folder_stays(workshop):
    stranger = workshop.folder / "engines" / ".building-notes"
    stranger.mkdir(parents=True)
    workshop.obtain()
    assert stranger.is_dir()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80)
@given(
    st.sampled_from(["engine.plan", "record.json"]), st.floats(0, 1, exclude_max=True), st.integers(1, 255)
)
def test_no_flipped_byte_yields_another_plan(workshop, name, where, flip):
    workshop.plan = original = b"the original plan" * 5
    shutil.rmtree(workshop.entry(), ignore_errors=True)
    workshop.obtain()
    path = workshop.entry() / name
    content = bytearray(path.read_bytes())
    content[int(where * len(content))] ^= flip
    path.write_bytes(content)
    workshop.plan = SECOND
    workshop.checked.clear()
    obtained = workshop.obtain()
    if name == "engine.plan":
        assert obtained.how == "rebuilt"
    assert (obtained.how, obtained.plan) in [("cached", original), ("rebuilt", SECOND)]
    assert workshop.checked == [obtained.plan]
