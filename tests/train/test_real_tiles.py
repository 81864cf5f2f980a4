"""Real network input for the exporter: from where, how spread, and only from the volumes of the training."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from dmn_runtime.errors import RunError
from dmn_runtime.volume import fingerprint
from dmn_train import file_times
from dmn_train import real_tiles as module
from dmn_train.loop import train
from dmn_train.material import unaugmented
from dmn_train.networks.sizes import NetworkSpec
from dmn_train.real_tiles import real_tiles
from dmn_train.recipe import PlacedRecipe
from dmn_train.run import Run, load_run

Placed = Callable[..., PlacedRecipe]
RunOf = Callable[..., Run]

TARGET = ("data.target.image=target.tif", "data.target.voxel_nm=[5,5,5]", "method.name=adabn")


def write(path: Path, voxels: NDArray[Any]) -> None:
    tifffile.imwrite(path, voxels, photometric="minisblack")


@pytest.fixture
def run_of(placed: Placed, folder: Path) -> RunOf:
    """Return a maker of runs that have seen the volumes as they lie there now; the target is inverted."""
    write(folder / "target.tif", 255 - tifffile.imread(folder / "image.tif")[:4])

    def make(*overrides: str, context: int = 0) -> Run:
        recipe = placed(*overrides)
        data = json.loads(json.dumps([asdict(origin) for _, origin in unaugmented(recipe, 99)]))
        none: Any = None
        rest = dict.fromkeys(("name", "description", "class_name", "method", "voxel_nm"), none)
        rest |= dict.fromkeys(("working_voxel_nm", "normalisation", "threshold", "domain"), none)
        spec = NetworkSpec(base=2, levels=2, context_slices=context)
        return Run(folder=folder, placed=recipe, spec=spec, facts={"data": data}, **rest)

    return make


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple[int, ...], tuple[int, int, int]]]:
    """Collect the shape of the stack and the centre of each tile that is cut."""
    found = []
    original = module.cut_window

    def watched(grey: NDArray[Any], centre: tuple[int, int, int], *rest: int) -> NDArray[Any]:
        found.append((grey.shape, centre))
        return original(grey, centre, *rest)

    monkeypatch.setattr(module, "cut_window", watched)
    return found


def are_inverted(tiles: NDArray[np.float32]) -> list[bool]:
    """Tell of each tile whether its background is dark, as the target's is and the source's is not."""
    return [bool(np.median(tile) < 0) for tile in tiles]


def test_tiles_are_real_input_and_always_the_same(run_of: RunOf) -> None:
    run = run_of(*TARGET)
    tiles = real_tiles(run, 5, 3, 32)
    assert (tiles.golden.shape, tiles.calibration.shape) == ((5, 1, 32, 32), (3, 1, 32, 32))
    assert tiles.golden.dtype == tiles.calibration.dtype == np.float32
    assert 1.5 < np.ptp(tiles.golden) <= 4.0
    again = real_tiles(run, 5, 3, 32)
    np.testing.assert_array_equal(tiles.golden, again.golden)
    np.testing.assert_array_equal(tiles.calibration, again.calibration)
    assert len({tile.tobytes() for tile in (*tiles.golden, *tiles.calibration)}) == 8


def test_a_finished_run_gives_tiles(placed: Placed, tmp_path: Path) -> None:
    train(placed("loop.steps=1"), tmp_path / "run")
    assert real_tiles(load_run(tmp_path / "run"), 2, 1, 32).golden.shape == (2, 1, 32, 32)


def test_golden_tiles_are_of_target_and_source_in_turn_the_target_first(run_of: RunOf) -> None:
    tiles = real_tiles(run_of(*TARGET), 6, 1, 32)
    assert are_inverted(tiles.golden) == [True, False] * 3


def test_calibration_tiles_are_of_the_target_alone(run_of: RunOf) -> None:
    assert are_inverted(real_tiles(run_of(*TARGET), 1, 7, 32).calibration) == [True] * 7


def test_without_a_target_all_is_of_the_source(run_of: RunOf) -> None:
    tiles = real_tiles(run_of(), 4, 4, 32)
    assert are_inverted(tiles.golden) == are_inverted(tiles.calibration) == [False] * 4


def test_every_target_is_used(run_of: RunOf, folder: Path) -> None:
    write(folder / "second.tif", 255 - tifffile.imread(folder / "image.tif")[4:])
    both = (
        'data.target=[{image="target.tif",voxel_nm=[5,5,5]},{image="second.tif",voxel_nm=[5,5,5]}]',
        "method.name=adabn",
    )
    tiles = real_tiles(run_of(*both), 6, 1, 32)
    assert are_inverted(tiles.golden) == [True, False, True] * 2


def test_slices_held_out_from_training_are_examined_on_too(
    run_of: RunOf, cut: list[tuple[tuple[int, ...], tuple[int, int, int]]]
) -> None:
    real_tiles(run_of(), 12, 1, 32)
    assert {centre[0] for _, centre in cut} == set(range(6))  # 5 is held out


def test_no_centre_is_common_and_all_are_spread(
    run_of: RunOf, cut: list[tuple[tuple[int, ...], tuple[int, int, int]]]
) -> None:
    real_tiles(run_of(), 12, 16, 32)
    assert len(cut) == len(set(cut)) == 28
    golden = [centre for _, centre in cut[:12]]
    for axis, places in ((1, 48 - 31), (2, 64 - 31)):
        quarters = {4 * (centre[axis] - 16) // places for centre in golden}
        assert quarters == {0, 1, 2, 3}


@pytest.mark.parametrize("edge_px", [48, 64, 65])
def test_no_tile_serves_both_purposes_where_hardly_any_fits(
    run_of: RunOf, cut: list[tuple[tuple[int, ...], tuple[int, int, int]]], edge_px: int
) -> None:
    real_tiles(run_of(), 12, 16, edge_px)
    assert len(cut) == len(set(cut)) == 28


@pytest.mark.parametrize("edge_px", [30, 31, 32])
def test_no_tile_is_reflected_where_it_fits(
    run_of: RunOf, cut: list[tuple[tuple[int, ...], tuple[int, int, int]]], edge_px: int
) -> None:
    real_tiles(run_of(*TARGET), 12, 16, edge_px)
    for shape, centre in cut:
        for extent, middle in zip(shape[1:], centre[1:], strict=True):
            assert 0 <= middle - edge_px // 2 <= extent - edge_px


def test_context_comes_along_and_small_volumes_are_reflected(run_of: RunOf) -> None:
    tiles = real_tiles(run_of(context=1), 2, 1, 160).golden
    assert tiles.shape == (2, 3, 160, 160)
    assert not np.array_equal(tiles[0, 0], tiles[0, 1])


# The volumes must be those of the training


def swap_two_voxels(path: Path) -> None:
    """Change the content and no histogram."""
    image = tifffile.imread(path)
    flat = image.ravel()
    other = int(np.flatnonzero(flat != flat[0])[0])
    flat[[0, other]] = flat[[other, 0]]
    write(path, image)


@pytest.mark.parametrize(("file", "role"), [("image.tif", "source"), ("target.tif", "target")])
def test_another_volume_is_refused(run_of: RunOf, folder: Path, file: str, role: str) -> None:
    run = run_of(*TARGET)
    swap_two_voxels(folder / file)
    with pytest.raises(RunError, match=rf"the {role} volume {file} is not the one .*: put it back"):
        real_tiles(run, 1, 1, 16)


def test_a_volume_that_is_gone_is_refused(run_of: RunOf, folder: Path) -> None:
    run = run_of(*TARGET)
    (folder / "target.tif").unlink()
    with pytest.raises(RunError, match=r"a volume of this run cannot be read \(.*target\.tif.*: put it back"):
        real_tiles(run, 1, 1, 16)


@pytest.fixture
def all_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every volume be so large that its fingerprint holds file times."""
    monkeypatch.setattr(fingerprint, "WHOLE_BYTES", 1000)
    monkeypatch.setattr(file_times, "WHOLE_BYTES", 1000)


@pytest.mark.usefixtures("all_large")
def test_a_copy_of_a_large_volume_is_the_same(run_of: RunOf, folder: Path) -> None:
    run = run_of()
    os.utime(folder / "image.tif", (1_000_000, 1_000_000))
    ((_, origin),) = unaugmented(run.placed, 1)
    assert origin.fingerprint != run.facts["data"][0]["fingerprint"]
    assert len(real_tiles(run, 1, 1, 16).golden) == 1


@pytest.mark.usefixtures("all_large")
@pytest.mark.parametrize("change", [lambda image: image // 2, lambda image: image[:, :, ::-1][:, 1:]])
def test_another_large_volume_is_refused(
    run_of: RunOf, folder: Path, change: Callable[[NDArray[Any]], NDArray[Any]]
) -> None:
    run = run_of()
    for file in ("image.tif", "mask.tif"):
        voxels = tifffile.imread(folder / file)
        changed = change(voxels) if file == "image.tif" else voxels[:, -change(voxels).shape[1] :]
        write(folder / file, changed)
    with pytest.raises(RunError, match=r"the source volume image\.tif is not the one"):
        real_tiles(run, 1, 1, 16)
