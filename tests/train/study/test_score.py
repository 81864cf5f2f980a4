"""What a run scores (tests/export/test_study_scores.py holds it to the real way)."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from safetensors.torch import load_file, save_file

from dmn_train.run import load_run
from dmn_train.snapshots import snapshot_path
from dmn_train.study.score import score_run
from dmn_train.study.test_volume import TestVolume

Volume = Callable[..., TestVolume]


def test_only_slices_and_columns_of_the_test_count(run_folder: Path, folder: Path, volume: Volume) -> None:
    mask = tifffile.imread(folder / "mask.tif")
    score = score_run(load_run(run_folder), volume(slices=(1, 4), columns=(64, 128)))
    assert score.per_slice.sum(axis=1).tolist() == [96 * 64] * 3
    true = mask[1:4, :, 64:].sum(axis=(1, 2))
    assert (score.per_slice[:, 0] + score.per_slice[:, 2]).tolist() == true.tolist()


def test_unlabelled_voxels_do_not_count(run_folder: Path, folder: Path, volume: Volume) -> None:
    mask = tifffile.imread(folder / "mask.tif")
    mask[2] = 255
    mask[0, :10] = 255
    tifffile.imwrite(folder / "partial.tif", mask)
    score = score_run(load_run(run_folder), volume(mask="partial.tif"))
    assert score.per_slice.sum(axis=1).tolist() == [86 * 128] + [96 * 128] * 4


def test_the_oracle_is_the_best_of_snapshots_and_kept_weights(
    run_folder: Path, folder: Path, volume: Volume
) -> None:
    weights = load_file(run_folder / "weights.safetensors")
    final = score_run(load_run(run_folder), volume())
    snapshot_path(run_folder, 1).parent.mkdir()
    for step, bias in ((1, -50.0), (2, 50.0)):  # nothing, and everything, is foreground
        changed = {**weights, "head.bias": weights["head.bias"] * 0 + bias}
        # As a run keeps them: the network of two domains.
        save_file({f"network.{name}": t for name, t in changed.items()}, snapshot_path(run_folder, step))
    score = score_run(load_run(run_folder), volume())
    mask = tifffile.imread(folder / "mask.tif")
    kept = final.per_slice.sum(axis=0)
    best = max(float(kept[0] / kept[:3].sum()), float(mask.mean()))
    assert score.oracle is not None
    assert score.oracle.iou == pytest.approx(best)
    assert np.array_equal(score.per_slice, final.per_slice)


def test_a_voxel_is_foreground_from_the_threshold_of_the_run(run_folder: Path, volume: Volume) -> None:
    run, whole = load_run(run_folder), 6 * 96 * 128
    found = [
        int(score_run(replace(run, threshold=threshold), volume()).per_slice[:, :2].sum())
        for threshold in (0.0, 1.0)
    ]
    assert found[0] == whole
    assert found[1] < whole


def test_scoring_ends_when_its_check_says_so(run_folder: Path, volume: Volume) -> None:
    asked: list[int] = []

    def check() -> None:
        asked.append(1)
        if len(asked) == 3:
            raise KeyError

    with pytest.raises(KeyError):
        score_run(load_run(run_folder), volume(), check)
    assert len(asked) == 3
