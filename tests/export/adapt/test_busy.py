"""A busy machine is told of where it matters: with several threads."""

import os

import pytest
import torch

from dmn_export.adapt.busy import busy_now, busy_words


def test_threads_that_would_wait_for_others_are_told_of() -> None:
    assert busy_words(4.36, 2, 2) == (
        "this machine is busy: 4.4 processes want to run on 2 cores, and 2 threads of a training then wait "
        "for one another; with OMP_NUM_THREADS=1 in the environment it may be several times as fast"
    )
    assert busy_words(1.01, 2, 2) is not None
    assert busy_words(0.99, 2, 2) is None
    assert busy_words(4.4, 2, 1) is None


def test_the_load_is_the_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (9.0, 0.0, 0.0), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert busy_now() == busy_words(9.0, 4, 3)
    monkeypatch.delattr(os, "getloadavg")
    assert busy_now() is None
