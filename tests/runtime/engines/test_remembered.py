"""What is remembered: there and back, and every fact that makes it no news."""

import json
import os
import stat
import sys
from pathlib import Path

import pytest

from dmn_runtime.certificate.parity import Parity
from dmn_runtime.certificate.tolerance import Tolerance
from dmn_runtime.engines import remembered
from dmn_runtime.engines.candidates import Candidate
from dmn_runtime.engines.remembered import (
    LIBRARIES,
    State,
    recall,
    recall_faults,
    remember,
    remember_faults,
    state_of,
)
from dmn_runtime.engines.trial import Trial
from dmn_runtime.gpu.inquiry import Gpu

PACKAGE = "a" * 64
NETWORKS = {"fp16": "d" * 64, "fp32": "e" * 64}
GPU = Gpu("NVIDIA RTX A4000", "GPU-1", "581.15", "8.6", 16 * 2**30)
SOUND = Trial(
    Candidate("tensorrt_rtx", "fp16"),
    "tensorrt_rtx 1.7.1, GPU 0",
    0.47,
    Tolerance(0.05, 0.002),
    Parity(4, 0.01, 0.0003, 0.0001, 31, 31, 2),
    4.1e7,
    None,
    "a race",
)
FAULTY = Trial(
    Candidate("cpu", "fp32"),
    "onnxruntime",
    0.5,
    Tolerance(1e-4, 5e-4, 1.5),
    Parity(4, 0.3, 0.1, 0.2, 31, 20, 1),
    None,
    "it does not segment",
)
GONE = Trial(Candidate("cuda", "fp32"), "", 0.5, Tolerance(1e-4, 5e-4), None, None, "no GPU")


@pytest.fixture(autouse=True)
def machine(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make this a machine with one GPU and certain libraries; return its folder of findings."""
    monkeypatch.setattr(remembered, "visible_gpus", lambda: (GPU,))
    monkeypatch.setattr(remembered, "version", lambda name: f"1.0 of {name}")
    monkeypatch.setattr(remembered, "cpu_model", lambda: "Some CPU")
    monkeypatch.setattr(remembered, "instruction_sets", lambda: ("AVX2",))
    monkeypatch.setattr(remembered, "logical_cores", lambda: 2)
    return cache / "machine"


def state() -> State:
    return state_of(PACKAGE, NETWORKS, 2, 1152)


def test_there_and_back() -> None:
    assert recall(state()) == {}
    assert remember(state(), [SOUND, FAULTY]) is None
    assert recall(state()) == {SOUND.candidate: SOUND, FAULTY.candidate: FAULTY}


def test_what_did_not_run_is_tried_again_next_time() -> None:
    assert remember(state(), [SOUND, GONE]) is None
    assert list(recall(state())) == [SOUND.candidate]


def test_what_is_not_a_number_comes_back_as_such() -> None:
    odd = Trial(
        SOUND.candidate, "x", 0.5, SOUND.tolerance, Parity(1, float("nan"), 0, 0, None, None, 0), 1.0, "x"
    )
    assert remember(state(), [odd]) is None
    [(_, back)] = recall(state()).items()
    assert back.parity is not None
    assert back.parity.max_dp != back.parity.max_dp


def test_the_newest_finding_replaces_the_older() -> None:
    remember(state(), [SOUND])
    remember(state(), [FAULTY])
    assert list(recall(state())) == [FAULTY.candidate]


CHANGES = {
    "driver": ("visible_gpus", lambda: (Gpu(GPU.name, GPU.uuid, "590.01", "8.6", None),)),
    "GPU": ("visible_gpus", lambda: (Gpu("NVIDIA H100", GPU.uuid, GPU.driver_version, "9.0", None),)),
    "second GPU": ("visible_gpus", lambda: (GPU, GPU)),
    "no GPU": ("visible_gpus", lambda: ()),
    "processor": ("cpu_model", lambda: "Another CPU"),
    "instruction sets": ("instruction_sets", lambda: ("AVX2", "AMX")),
    "unknown instruction sets": ("instruction_sets", lambda: None),
    "cores": ("logical_cores", lambda: 4),
    "DMN": ("__version__", "99.0"),
    "format": ("FORMAT_VERSION", 3),
    **{
        library: ("version", lambda name, library=library: "2.0" if name == library else f"1.0 of {name}")
        for library in LIBRARIES
    },
}


@pytest.mark.parametrize("fact", CHANGES)
def test_another_state_of_the_machine_is_no_news(fact: str, monkeypatch: pytest.MonkeyPatch) -> None:
    remember(state(), [SOUND])
    monkeypatch.setattr(remembered, *CHANGES[fact])
    assert recall(state()) == {}


@pytest.mark.parametrize("other", [("b" * 64, 2, 1152), (PACKAGE, 3, 1152), (PACKAGE, 2, 576)])
def test_another_package_number_of_workers_or_tile_is_no_news(other: tuple[str, int, int]) -> None:
    remember(state(), [SOUND])
    assert recall(state_of(other[0], NETWORKS, *other[1:])) == {}
    assert recall(state()) == {SOUND.candidate: SOUND}


@pytest.mark.parametrize("name", ["ONEDNN_MAX_CPU_ISA", "CUDA_VISIBLE_DEVICES", "NVIDIA_TF32_OVERRIDE"])
def test_variables_that_change_the_arithmetic_are_another_state(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(name, raising=False)
    remember(state(), [SOUND])
    monkeypatch.setenv(name, "1")
    assert recall(state()) == {}


# The owner's volume

ONE, OTHER = SOUND.candidate, FAULTY.candidate


@pytest.mark.parametrize(("workers", "edge_px"), [(2, 1152), (3, 1152), (2, 576)])
def test_a_fault_on_the_volume_holds_for_any_workers_and_tile(
    machine: Path, workers: int, edge_px: int
) -> None:
    assert recall_faults(state()) == {}
    assert remember_faults(state(), {ONE: "on your volume it fails", OTHER: None}) is None
    assert recall_faults(state_of(PACKAGE, NETWORKS, workers, edge_px)) == {ONE: "on your volume it fails"}
    assert only_file(machine).name == f"volume-{state().of_volume().digest}.json"


def test_a_fault_on_the_volume_stays_until_it_passes() -> None:
    remember_faults(state(), {ONE: "on your volume it fails"})
    remember(state(), [SOUND])
    remember_faults(state(), {OTHER: "so does this"})
    assert recall_faults(state()) == {ONE: "on your volume it fails", OTHER: "so does this"}
    remember_faults(state(), {ONE: None})
    assert recall_faults(state()) == {OTHER: "so does this"}


@pytest.mark.parametrize("fact", CHANGES)
def test_a_fault_on_the_volume_is_of_this_machine_as_it_is(
    fact: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    remember_faults(state(), {ONE: "it fails"})
    monkeypatch.setattr(remembered, *CHANGES[fact])
    assert recall_faults(state()) == {}


def test_a_fault_on_the_volume_is_of_the_networks_whatever_else_the_package_holds() -> None:
    remember_faults(state(), {ONE: "it fails"})
    assert recall_faults(state_of("b" * 64, NETWORKS, 2, 1152)) == {ONE: "it fails"}
    for others in ({**NETWORKS, "fp16": "f" * 64}, {"fp32": "e" * 64}, {}):
        assert recall_faults(state_of(PACKAGE, others, 2, 1152)) == {}


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"3", b"null", b"\xff\xfe", b"[" * 100_000],
)
def test_a_damaged_file_of_faults_is_no_news_and_is_replaced(machine: Path, content: bytes) -> None:
    remember_faults(state(), {ONE: "it fails"})
    only_file(machine).write_bytes(content)
    assert recall_faults(state()) == {}
    assert remember_faults(state(), {ONE: "it fails"}) is None
    assert recall_faults(state()) == {ONE: "it fails"}


@pytest.mark.parametrize("entries", [3, [3], [["cpu"]], [[]], None], ids=str)
def test_faults_of_another_kind_are_no_news(machine: Path, entries: object) -> None:
    remember_faults(state(), {ONE: "it fails"})
    edited(only_file(machine), "faults", value=entries)
    assert recall_faults(state()) == {}


def test_faults_that_cannot_be_kept_are_a_sentence(machine: Path) -> None:
    machine.parent.mkdir()
    machine.write_text("no folder")
    assert recall_faults(state()) == {}
    assert remember_faults(state(), {ONE: "it fails"})


# What is no news


def test_a_library_that_is_gone_is_another_state(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(name: str) -> str:
        raise remembered.PackageNotFoundError(name)

    before = state()
    monkeypatch.setattr(remembered, "version", gone)
    assert set(state().facts["libraries"].values()) == {None}
    assert state().digest != before.digest


def test_the_uuid_of_a_gpu_and_its_memory_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    remember(state(), [SOUND])
    monkeypatch.setattr(remembered, "visible_gpus", lambda: (Gpu(GPU.name, "GPU-2", "581.15", "8.6", None),))
    assert SOUND.candidate in recall(state())


def only_file(folder: Path) -> Path:
    [path] = folder.iterdir()
    return path


def edited(path: Path, *keys: str, value: object = None) -> None:
    """Set a field below `keys` of the record, or remove it where the value is None."""
    document = json.loads(path.read_text())
    inner = document
    for key in keys[:-1]:
        inner = inner[int(key)] if isinstance(inner, list) else inner[key]
    if value is None:
        del inner[keys[-1]]
    else:
        inner[keys[-1]] = value
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    "keys",
    [
        ("state",),
        ("trials",),
        ("trials", "0", "candidate"),
        ("trials", "0", "fault"),
        ("trials", "0", "parity"),
        ("trials", "0", "race"),
    ],
    ids="-".join,
)
def test_a_lost_field_is_no_news(machine: Path, keys: tuple[str, ...]) -> None:
    remember(state(), [SOUND])
    edited(only_file(machine), *keys)
    assert recall(state()) == {}


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("trials",), 3),
        (("trials",), ["x"]),
        (("trials", "0", "candidate"), {"engine": "cpu"}),
        (("trials", "0", "candidate"), {"engine": "cpu", "precision": "fp32", "more": 1}),
        (("trials", "0", "threshold"), "half"),
        (("trials", "0", "voxels_per_s"), "fast"),
        (("trials", "0", "tolerance"), 3),
        (("trials", "0", "parity"), [1, 2]),
        (("state", "cpu"), "one that was meant by nobody"),
    ],
)
def test_a_field_of_another_kind_is_no_news(machine: Path, keys: tuple[str, ...], value: object) -> None:
    remember(state(), [SOUND])
    edited(only_file(machine), *keys, value=value)
    assert recall(state()) == {}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"null", b"\xff\xfe", b"[" * 100_000])
def test_a_damaged_file_is_no_news_and_is_replaced(machine: Path, content: bytes) -> None:
    remember(state(), [SOUND])
    only_file(machine).write_bytes(content)
    assert recall(state()) == {}
    assert remember(state(), [SOUND]) is None
    assert recall(state()) == {SOUND.candidate: SOUND}


def test_a_folder_in_the_place_of_the_file_is_no_news_but_a_sentence(machine: Path) -> None:
    (machine / f"{state().digest}.json").mkdir(parents=True)
    assert recall(state()) == {}
    said = remember(state(), [SOUND])
    assert said is not None
    assert "cannot be written" in said


def test_a_file_where_the_folder_should_be_is_a_sentence(machine: Path) -> None:
    machine.parent.mkdir()
    machine.write_text("no folder")
    assert recall(state()) == {}
    assert remember(state(), [SOUND])


@pytest.mark.skipif(sys.platform == "win32" or not hasattr(os, "geteuid"), reason="rights of POSIX folders")
def test_a_folder_that_forbids_writing_is_a_sentence(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.mkdir(parents=True)
    machine.chmod(stat.S_IRUSR | stat.S_IXUSR)
    if os.geteuid() == 0:  # to whom nothing is forbidden

        def forbid(path: Path, *_: object, **__: object) -> int:
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr(Path, "write_text", forbid)
    try:
        said = remember(state(), [SOUND])
    finally:
        machine.chmod(stat.S_IRWXU)
    assert said is not None
    assert "Permission denied" in said
    assert list(machine.iterdir()) == []


def test_the_libraries_are_those_that_compute() -> None:
    computing = {"numpy", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt-cu13", "tensorrt-rtx-cu13"}
    assert computing <= set(LIBRARIES)


def test_the_state_is_json() -> None:
    assert json.loads(json.dumps(state().facts)) == state().facts
    assert len(state().digest) == 64
