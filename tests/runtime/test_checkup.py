import dataclasses
from importlib import metadata
from types import SimpleNamespace

import pytest

from dmn_runtime import checkup, package, selftest
from dmn_runtime.checkup import Finding, check_up, guarded
from dmn_runtime.engines import catalogue
from dmn_runtime.errors import PackageError
from dmn_runtime.extras import EXTRA_OF
from dmn_runtime.gpu import inquiry


@pytest.fixture
def embedded(tested_package, monkeypatch):
    """Put the small package in the place of the embedded one."""
    path = tested_package()
    monkeypatch.setattr(package, "resolve_package", lambda word: path)
    return path


def states(findings):
    return {finding.name: finding.state for finding in findings}


def test_a_healthy_machine_has_nothing_broken(embedded, monkeypatch):
    monkeypatch.setattr(selftest, "TIMED_S", 0.0)
    found = check_up()
    assert "broken" not in states(found).values()
    assert {
        "system",
        "processor",
        "memory",
        "disk",
        "onnxruntime",
        "GPU",
        "package",
        "self-test",
        "speed",
    } <= set(states(found))


def test_one_worker_is_singular(embedded, monkeypatch):
    monkeypatch.setattr(selftest, "TIMED_S", 0.0)
    monkeypatch.setattr(checkup, "logical_cores", lambda: 1)
    assert checkup._check_package()[-1].text.endswith("network alone, 1 worker at once")


def test_a_damaged_package_is_broken_and_does_not_end_the_checkup(embedded):
    embedded.write_bytes(embedded.read_bytes()[:-100])
    found = {finding.name: finding for finding in check_up()}
    assert found["package"].state == "broken"
    assert "not a whole zip archive" in found["package"].text
    assert found["package"].mend == "pip install --force-reinstall dmn-em"
    assert found["onnxruntime"].state == "works"


def test_whatever_a_check_raises_becomes_a_finding():
    def _check_thing():
        raise RuntimeError("two\nlines")

    def _check_other():
        raise PackageError("one sentence")

    assert guarded(_check_thing) == [
        Finding("thing", "broken", "RuntimeError: two lines", checkup._REINSTALL)
    ]
    assert guarded(_check_other)[0].text == "one sentence"


def test_every_extra_is_explained_and_has_its_command(monkeypatch):
    assert set(checkup.GIVES) == set(EXTRA_OF.values())
    monkeypatch.setattr(checkup, "is_present", lambda name: name != "h5py")
    found = {finding.name: finding for finding in checkup._check_extras()}
    assert (found["hdf5"].state, found["hdf5"].mend) == ("optional", "pip install 'dmn-em[hdf5]'")
    assert (found["mrc"].state, found["mrc"].mend) == ("works", None)


@pytest.mark.parametrize(
    ("present", "gpus"),
    [
        ((), 0),
        (("openvino", "tensorrt_rtx"), 0),
        (("openvino", "tensorrt_rtx"), 1),
        (("tensorrt_rtx", "cuda.core"), 0),
        (("tensorrt", "tensorrt_rtx", "cuda.core"), 1),
    ],
    ids=str,
)
def test_engines_are_told_in_the_words_of_dmn_verify(monkeypatch, present, gpus):
    monkeypatch.setattr(catalogue, "is_present", lambda name: name in present)
    monkeypatch.setattr(catalogue, "visible_gpus", lambda: ("a GPU",) * gpus)
    found = {finding.name: finding for finding in checkup._check_extras()}
    absences = catalogue.absences_here()
    for extra, word in [("openvino",) * 2, ("tensorrt",) * 2, ("tensorrt-rtx", "tensorrt_rtx")]:
        why = absences[word]
        words = checkup.GIVES[extra] + (f"; not here: {why}" if why else "")
        assert found[extra] == Finding(extra, "optional" if why else "works", words)


def test_a_processor_without_avx2_is_slow(monkeypatch):
    monkeypatch.setattr(checkup.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(checkup, "instruction_sets", lambda: ())
    assert "no AVX2" in checkup._check_processor()[1].text
    monkeypatch.setattr(checkup, "instruction_sets", lambda: None)
    assert "unknown" in checkup._check_processor()[0].text


def test_cores_that_may_not_be_used_are_named(monkeypatch):
    monkeypatch.setattr(checkup, "logical_cores", lambda: 2)
    monkeypatch.setattr(checkup, "possible_cores", lambda: 8)
    slow = checkup._check_processor()[-1]
    assert (slow.state, slow.mend) == ("slow", "taskset -c 0-7 dmn infer ...")
    assert "2 of 8 cores" in slow.text


@pytest.mark.parametrize(
    ("size", "state"), [(2_000_000_000, "slow"), (8_000_000_000, "works"), (None, "works")]
)
def test_little_memory_is_told(monkeypatch, size, state):
    monkeypatch.setattr(checkup, "memory_bytes", lambda: size)
    [found] = checkup._check_memory()
    assert found.state == state
    assert (found.mend is not None) == (state == "slow")


def test_a_full_disk_is_told(monkeypatch):
    monkeypatch.setattr(checkup.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 10**9})())
    [found] = checkup._check_disk()
    assert (found.state, "1.0 GB free" in found.text) == ("slow", True)


def test_gpus_are_named_and_a_silent_driver_is_no_fault(monkeypatch):
    card = inquiry.Gpu("Card A", "GPU-1", "570.1", "8.6", 24_000)
    monkeypatch.setattr(inquiry, "visible_gpus", lambda: (card, dataclasses.replace(card, name="Card B")))
    assert [(found.state, found.text) for found in checkup._check_gpu()] == [
        ("works", "Card A, 8.6 (compute capability), driver 570.1"),
        ("works", "Card B, 8.6 (compute capability), driver 570.1"),
    ]
    monkeypatch.setattr(inquiry, "visible_gpus", tuple)
    [found] = checkup._check_gpu()
    assert (found.state, "no NVIDIA driver answers; not needed" in found.text) == ("works", True)


def test_two_builds_of_onnxruntime_are_found(monkeypatch):
    def installed(*names):
        found = [SimpleNamespace(metadata={"Name": name}) for name in ("numpy", *names)]
        monkeypatch.setattr(metadata, "distributions", lambda: found)
        return checkup._check_two_onnxruntimes()

    assert installed("onnxruntime") == []
    assert installed("onnxruntime", None) == []  # half removed: a folder without its name
    assert installed("onnxruntime-gpu") == []
    [found] = installed("onnxruntime", "ONNXRuntime-GPU")
    assert (found.name, found.state) == ("onnxruntime", "slow")
    assert "spoil each other" in found.text
    assert found.mend.startswith("pip uninstall -y onnxruntime onnxruntime-gpu")
