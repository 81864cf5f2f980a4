"""Live mode on the fake GPU: whole blocks, several readers, and the voxels of the batch run."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from by_file import imported
from dmn_runtime.errors import PlanError
from dmn_runtime.geometry import whole
from dmn_runtime.inference import Watch, infer
from dmn_runtime.live import layout
from dmn_runtime.live.layout import LiveOptions
from dmn_runtime.setup import Options
from dmn_runtime.volume.open import open_volume
from fake_cuda import put_in_place_of_cuda

from .conftest import SHAPE, Microscope, encoded, smooth

Package = Callable[..., Path]
LIVE = LiveOptions(until=13, poll_s=1.0, settle_s=2.0)
MORE: dict[str, Any] = {
    "engine": "cuda",
    "workers": 16,  # 4 readers
    "voxel_nm": (50.0, 5.0, 5.0),
    "block": (4, 32, 48),
    "intensity": (20.0, 230.0),
}

LITTLE_BYTES = 20 << 20
"""Of the GPU's memory: enough for batches of one tile."""


def _double(name: str) -> ModuleType:
    return imported(Path(__file__).parents[1] / "gpu" / f"{name}.py")


@pytest.fixture
def fake_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Put a fake GPU in the place of CUDA."""
    device = _double("numpy_device").NumpyDevice(seed=3)
    put_in_place_of_cuda(device, monkeypatch, tmp_path / "cache")
    return device


def put(microscope: Microscope, z: int, seed: int) -> None:
    microscope.write(f"s{z:03}.png", encoded(smooth(seed), ".png", microscope.scratch))


def interrupt() -> None:
    raise KeyboardInterrupt


def voxels(output: Path) -> list[NDArray[Any]]:
    """Return what an output holds: of a TIFF the mask, too."""
    beside = [output.with_name(f"{output.stem}.probability.tif")] if output.suffix == ".tif" else []
    found = []
    for path in [output, *beside]:
        with open_volume(path) as volume:
            found.append(volume.read(whole(volume.shape)))
    return found


@pytest.mark.parametrize(
    ("context", "suffix", "working_nm"), [(1, ".tif", None), (2, ".tif", 8.0), (0, ".ome.zarr", 8.0)]
)
def test_the_voxels_are_those_of_the_batch_run_through_a_stop_and_a_resume(
    fake_gpu: Any,
    small_package: Package,
    microscope: Microscope,
    tmp_path: Path,
    context: int,
    suffix: str,
    working_nm: float | None,
) -> None:
    package, output = small_package(context=context, working_nm=working_nm), tmp_path / f"seg{suffix}"
    for z in range(10):
        put(microscope, z, z)
    microscope.events += [*[lambda: None] * 6, interrupt]
    plenty, fake_gpu.most_bytes = fake_gpu.most_bytes, LITTLE_BYTES
    with pytest.raises(KeyboardInterrupt):
        microscope.run(package, output, LIVE, **MORE)
    fake_gpu.check_empty()
    assert "are kept" in microscope.said[-1]
    fake_gpu.most_bytes = plenty  # for larger batches, which might round otherwise
    put(microscope, 0, 99)
    microscope.events += [partial(put, microscope, z, z) for z in (11, 12, 10)]
    report = microscope.run(package, output, LIVE, resume=True, **MORE)
    fake_gpu.check_empty()
    assert report is not None
    assert report.engine.startswith("fp32 by a fake, NumPy")
    assert report.gpu is not None
    assert report.gpu.batch == 1
    assert 0 < report.voxels < 13 * SHAPE[0] * SHAPE[1]
    batch = Options(str(package), str(microscope.folder), tmp_path / f"batch{suffix}", **MORE)
    infer(batch, Watch(lambda _: None, lambda _: None, lambda _: None))
    for live, wanted in zip(voxels(output), voxels(batch.output), strict=True):
        np.testing.assert_array_equal(live, wanted)
        assert len(np.unique(live)) > 1


def test_what_all_readers_hold_must_fit_into_memory(
    fake_gpu: Any,
    small_package: Package,
    microscope: Microscope,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for z in range(13):
        put(microscope, z, z)
    # A block with its context has 6 slices: a reader and the shelf would hold 12, 4 readers hold 30.
    monkeypatch.setattr(layout, "memory_bytes", lambda: 29 * SHAPE[0] * SHAPE[1])
    with pytest.raises(PlanError, match="30 decoded slices of 48x70 pixels need"):
        microscope.run(small_package(context=1), tmp_path / "seg.tif", LIVE, **MORE)
    fake_gpu.check_empty()
    assert not list(tmp_path.glob("seg*"))
    monkeypatch.setattr(layout, "memory_bytes", lambda: 30 * SHAPE[0] * SHAPE[1])
    assert microscope.run(small_package(context=1), tmp_path / "seg.tif", LIVE, **MORE) is not None
