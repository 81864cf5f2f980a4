from dataclasses import replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import pytest

from dmn_runtime.engine_cache import here as here_module
from dmn_runtime.engine_cache.here import Here, find_here, installed_version, state_of
from dmn_runtime.engine_cache.listing import Entry
from dmn_runtime.engine_cache.record import Record
from dmn_runtime.gpu.inquiry import Gpu

from .conftest import KEY, LABEL

A4000 = Gpu("NVIDIA RTX A4000", "GPU-1", "581.15", "8.6", 2**34)
HERE = Here({"tensorrt": None, "tensorrt_rtx": "1.7.1.116"}, (A4000,), "linux_x86_64")
PORTABLE = {"device": "", "driver": ""}


def entry(**changes):
    record = Record(replace(KEY, **changes), "d" * 64, 1, 1.0, datetime(2026, 1, 1, tzinfo=UTC), "0.3", LABEL)
    return Entry(Path("x"), record.key.digest, 1, record, None)


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, "ready"),
        ({"library_version": "1.6"}, "other library version"),
        ({"library": "tensorrt"}, "other library version"),
        ({"driver": "570.1"}, "other driver"),
        ({"device": "NVIDIA RTX A2000, 8.6"}, "other GPU"),
        ({"device": "NVIDIA RTX A2000, 8.6", "driver": "570.1"}, "other GPU"),
        ({"platform": "windows_x86_64"}, "for other machines"),
        (PORTABLE, "ready"),
        (PORTABLE | {"targets": ("SM86", "SM89")}, "ready"),
        (PORTABLE | {"targets": ("SM89",)}, "for other machines"),
        (PORTABLE | {"targets": ("SM86",), "library_version": "1.6"}, "other library version"),
    ],
)
def test_the_state(changes, state):
    assert state_of(entry(**changes), HERE) == state


def test_without_a_gpu():
    bare = replace(HERE, gpus=())
    assert state_of(entry(), bare) == "other GPU"
    assert state_of(entry(**PORTABLE), bare) == "for other machines"


def test_the_second_gpu_counts_too():
    two = replace(HERE, gpus=(replace(A4000, name="NVIDIA RTX 5090"), A4000))
    assert state_of(entry(), two) == "ready"


def test_a_damaged_one():
    assert state_of(Entry(Path("x"), "0" * 64, 1, None, "its plan is missing"), HERE) == "damaged"


def test_the_version_is_that_of_the_first_distribution_that_is_there(monkeypatch):
    present = {"tensorrt": "11.4.0.106", "tensorrt-rtx-cu13": "1.7.1.116", "tensorrt-rtx": "1"}

    def version(name):
        if name not in present:
            raise metadata.PackageNotFoundError(name)
        return present[name]

    monkeypatch.setattr(here_module.metadata, "version", version)
    assert installed_version("tensorrt") == "11.4.0.106"
    assert installed_version("tensorrt_rtx") == "1.7.1.116"
    present.clear()
    assert installed_version("tensorrt") is None


def test_this_machine_is_asked(monkeypatch):
    monkeypatch.setattr(here_module, "visible_gpus", lambda: (A4000,))
    found = find_here()
    assert found.gpus == (A4000,)
    assert set(found.versions) == {"tensorrt", "tensorrt_rtx"}
