"""What a contestant's process does before the watch runs, and that nothing is left for later."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

CHILDREN = Path(__file__).parents[2] / "benchmarks" / "peers" / "children"


@pytest.fixture
def protocol(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Import the protocol as the children do."""
    monkeypatch.syspath_prepend(CHILDREN)
    import protocol

    return protocol


@pytest.mark.parametrize(
    ("slices", "batch", "sizes"), [(20, 8, (8, 4)), (16, 8, (8,)), (3, 8, (3,)), (5, 1, (1,)), (1, 1, (1,))]
)
def test_every_size_of_batch_comes_once(
    protocol: ModuleType, slices: int, batch: int, sizes: tuple[int, ...]
) -> None:
    assert protocol.batch_sizes(slices, batch) == sizes


def made_of(protocol: ModuleType, batch: int, came: list[str]) -> Any:
    """Return a contestant that notes in `came` what is asked of it."""

    def segment(volume: Any) -> Any:
        came.append(f"segment {len(volume)}")
        return protocol.Segmented(np.zeros(volume.shape, np.uint8))

    def computed_px() -> int:
        came.append("pixels")
        return 256

    return protocol.Ready(segment, computed_px, batch)


def test_all_that_comes_has_come_before_the_watch_runs(protocol: ModuleType, tmp_path: Path) -> None:
    came: list[str] = []
    found = protocol.measured(made_of(protocol, 8, came), np.zeros((20, 4, 4), np.uint8), tmp_path / "p.npy")
    assert came == ["segment 8", "pixels", "segment 8", "segment 4", "segment 20"]
    assert found["computed_px"] == 256
    assert found["warm_s"] > 0


def test_a_trial_is_warmed_up_too(protocol: ModuleType) -> None:
    came: list[str] = []
    few = np.zeros((3, 4, 4), np.uint8)
    found = protocol.tried(lambda _: made_of(protocol, 1, came), {"a": 1}, few)
    assert came == ["segment 1", "pixels", "segment 1", "segment 3", "segment 3"]
    assert (found["settings"], found["computed_px"]) == ({"a": 1}, 256)


@pytest.mark.parametrize("batch", [1, 8])
def test_nothing_is_compiled_while_the_watch_runs(
    protocol: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, batch: int
) -> None:
    import torch_slices
    import torch_student

    compiled: list[int] = []

    def backend(graph: Any, inputs: Any) -> Any:
        compiled.append(1)
        return graph.forward

    monkeypatch.setattr(torch_student.torch, "compile", partial(torch.compile, backend=backend))
    student = torch.nn.Conv2d(1, 1, 3, padding=1).eval()
    monkeypatch.setattr(torch_slices, "load_student", lambda _: student)
    job = {"device": "cpu", "table": [0.0] * 256, "spec": {"levels": 1}}
    ready = torch_slices.make(job, {"batch": batch, "compile": True})
    counts: list[int] = []

    def counted(volume: Any) -> Any:
        before = len(compiled)
        made = ready.segment(volume)
        counts.append(len(compiled) - before)
        return made

    volume = np.zeros((20, 16, 16), np.uint8)
    found = protocol.measured(replace(ready, segment=counted), volume, tmp_path / "p.npy")
    assert sum(counts) > 0
    assert counts[-1] == 0
    assert found["computed_px"] == 16 * 16
