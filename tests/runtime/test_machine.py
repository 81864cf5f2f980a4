import sys

import numpy as np
import psutil
import pytest

from dmn_runtime.machine import (
    cpu_model,
    instruction_sets,
    logical_cores,
    machine_facts,
    memory_bytes,
    peak_rss_bytes,
)

X86 = """processor\t: 0
model name\t: Some CPU @ 3.00GHz
flags\t\t: fpu sse avx2 avx512f avx512_vnni

processor\t: 1
model name\t: Some CPU @ 3.00GHz
"""
ARM = "processor\t: 0\nFeatures\t: fp asimd asimddp i8mm\n"


def test_reads_the_model_and_the_instruction_sets_of_linux(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(X86)
    assert cpu_model(cpuinfo) == "Some CPU @ 3.00GHz"
    assert instruction_sets(cpuinfo) == ("AVX2", "AVX-512", "AVX-512 VNNI")


def test_reads_the_features_of_an_arm_processor(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(ARM)
    assert instruction_sets(cpuinfo) == ("NEON dot product", "NEON INT8 matrix")
    assert cpu_model(cpuinfo)


def test_elsewhere_the_instruction_sets_are_unknown(tmp_path):
    assert instruction_sets(tmp_path / "none") is None
    assert cpu_model(tmp_path / "none")


@pytest.mark.parametrize(("limit", "expected"), [("1048576\n", 1048576), ("max\n", None), (None, None)])
def test_the_limit_of_a_container_counts(tmp_path, limit, expected):
    path = tmp_path / "memory.max"
    if limit is not None:
        path.write_text(limit)
    assert memory_bytes(path) == (expected or memory_bytes(tmp_path / "none"))


def test_the_physical_memory_is_what_the_system_says(tmp_path):
    assert memory_bytes(tmp_path / "none") == psutil.virtual_memory().total


def test_the_peak_counts_bytes():
    held = np.ones(32 * 2**20, np.uint8)
    peak = peak_rss_bytes()
    assert peak is not None
    assert psutil.Process().memory_info().rss * 0.9 <= peak < 2**45
    assert peak > held.nbytes


def test_facts_are_filled():
    facts = machine_facts()
    assert facts.cpu
    assert facts.logical_cores == logical_cores() >= 1
    assert facts.os
    if sys.platform == "linux":
        assert facts.memory_bytes is not None
