"""Live mode from the outside: whatever comes in whatever order, the output is that of the batch run."""

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray

from dmn_runtime.inference import Watch, infer
from dmn_runtime.live.layout import LiveOptions
from dmn_runtime.report import Report
from dmn_runtime.setup import Options
from dmn_runtime.sink.paths import ledger_path, partial_path

from .conftest import SHAPE, Microscope, encoded, smooth

Package = Callable[..., Path]
LIVE = LiveOptions(until=13, poll_s=1.0, settle_s=2.0)
GREYS = (20.0, 230.0)


def written(output: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return probability and mask of an output."""
    if output.suffix == ".tif":
        return tifffile.imread(output.with_name(output.stem + ".probability.tif")), tifffile.imread(output)
    group = zarr.open_group(output, mode="r")
    return group["0"][:], group["labels/mask/0"][:]


def batch(package: Path, microscope: Microscope, output: Path, **more: Any) -> Report | None:
    options = Options(str(package), str(microscope.folder), output, engine="cpu", workers=2, **more)
    return infer(options, Watch(lambda _: None, lambda _: None, lambda _: None))


def require_equal_to_batch(package: Path, microscope: Microscope, output: Path, **more: Any) -> None:
    """Hold the voxels of a finished output against the batch run over the folder as it is now."""
    whole = output.with_name(f"batch{output.suffix if output.suffix == '.tif' else '.ome.zarr'}")
    batch(package, microscope, whole, intensity=GREYS, **more)
    for live, wanted in zip(written(output), written(whole), strict=True):
        np.testing.assert_array_equal(live, wanted)
    assert 0 < written(output)[1].mean() < 1
    assert not ledger_path(output).exists()
    assert not partial_path(output).exists()


def name_of(z: int, suffix: str) -> str:
    return f"run7_s{z + 1:03}_10nm{suffix}"


def acquisition(microscope: Microscope, suffix: str, slices: int, seed: int) -> None:
    """Let slices come out of order, some in halves, some by renaming, and one a second time."""
    rng = random.Random(seed)
    order = [*range(2), *rng.sample(range(2, slices), slices - 2)]
    for z in order:
        content, name = encoded(smooth(z), suffix, microscope.scratch), name_of(z, suffix)
        way = rng.choice(["whole", "halves", "renamed"])
        if way == "whole":
            microscope.events.append(partial(microscope.write, name, content))
        elif way == "halves":
            microscope.events.append(partial(microscope.write, name, content[: len(content) // 2]))
            microscope.events += [lambda: None] * rng.choice([0, 6])
            microscope.events.append(partial(microscope.write, name, content))
        else:
            microscope.events.append(partial(microscope.write, name + ".part", content))
            source, target = microscope.folder / (name + ".part"), microscope.folder / name
            microscope.events.append(partial(source.rename, target))


def rewrite(microscope: Microscope, z: int, suffix: str, seed: int) -> None:
    """Let slice `z` come again, in halves, once all that were announced are segmented."""
    content = encoded(smooth(seed), suffix, microscope.scratch)
    microscope.events += [lambda: None] * 6
    microscope.events.append(partial(microscope.write, name_of(z, suffix), content[: len(content) // 3]))
    microscope.events.append(partial(microscope.write, name_of(z, suffix), content))


@pytest.mark.parametrize(
    ("context", "suffix", "kind"), [(0, ".tif", ".png"), (1, ".ome.zarr", ".tif"), (1, ".tif", ".tif")]
)
def test_the_voxels_are_those_of_the_batch_run(
    small_package: Package, microscope: Microscope, tmp_path: Path, context: int, suffix: str, kind: str
) -> None:
    package, output = small_package(context=context), tmp_path / f"seg{suffix}"
    acquisition(microscope, kind, 12, seed=context)
    rewrite(microscope, 1, kind, seed=90)
    microscope.events += [
        lambda: None,
        partial(microscope.write, name_of(12, kind), encoded(smooth(12), kind, tmp_path)),
    ]
    report = microscope.run(package, output, LIVE, intensity=GREYS, block=(4, 32, 48))
    assert report is not None
    assert report.voxels > 13 * SHAPE[0] * SHAPE[1]  # blocks of the slice that came twice were made twice
    assert report.input.shape == (13, *SHAPE)
    assert (report.normalisation.low, report.normalisation.high) == GREYS
    assert report.normalisation.sampled_voxels == 0
    require_equal_to_batch(package, microscope, output, block=(4, 32, 48))
