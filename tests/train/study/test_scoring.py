"""Scores of runs on labelled volumes (tests/export/test_study_scores.py holds them to the real way)."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from safetensors.torch import load_file, save_file

from dmn_runtime.errors import RecipeError, RunError, VolumeError
from dmn_train.loop import train
from dmn_train.recipe import PlacedRecipe
from dmn_train.snapshots import snapshot_path
from dmn_train.study import scoring
from dmn_train.study.scoring import TestVolume, ensure_score, score_file
from dmn_train.study.sections import TestSection

VOXEL_NM = (5.0, 5.0, 5.0)


@pytest.fixture
def run_folder(folder: Path, placed: Callable[..., PlacedRecipe]) -> Path:
    train(placed("loop.steps=2"), folder / "run")
    return folder / "run"


def volume(folder: Path, **keys: Any) -> TestVolume:
    return TestVolume(
        TestSection(**{"image": "image.tif", "mask": "mask.tif", "voxel_nm": VOXEL_NM} | keys), folder
    )


def test_only_slices_and_columns_of_the_test_count(run_folder: Path, folder: Path) -> None:
    mask = tifffile.imread(folder / "mask.tif")
    score = ensure_score(run_folder, "A", volume(folder, slices=(1, 4), columns=(64, 128)))
    assert score.per_slice.sum(axis=1).tolist() == [96 * 64] * 3
    true = mask[1:4, :, 64:].sum(axis=(1, 2))
    assert (score.per_slice[:, 0] + score.per_slice[:, 2]).tolist() == true.tolist()


def test_unlabelled_voxels_do_not_count(run_folder: Path, folder: Path) -> None:
    mask = tifffile.imread(folder / "mask.tif")
    mask[2] = 255
    mask[0, :10] = 255
    tifffile.imwrite(folder / "partial.tif", mask)
    score = ensure_score(run_folder, "A", volume(folder, mask="partial.tif"))
    assert score.per_slice.sum(axis=1).tolist() == [86 * 128] + [96 * 128] * 4


def test_a_score_is_kept_until_weights_or_test_change(
    run_folder: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ensure_score(run_folder, "A", volume(folder))
    assert first.oracle is None
    made: list[str] = []
    real = scoring.score_run
    monkeypatch.setattr(scoring, "score_run", lambda *given: made.append("again") or real(*given))
    kept = ensure_score(run_folder, "A", volume(folder))
    assert np.array_equal(kept.per_slice, first.per_slice)
    assert kept.average_precision == first.average_precision
    assert made == []
    ensure_score(run_folder, "A", volume(folder, slices=(0, 5)))
    assert made == ["again"]
    image = tifffile.imread(folder / "image.tif")
    image[0, 0, 0] ^= 1
    tifffile.imwrite(folder / "image.tif", image)
    ensure_score(run_folder, "A", volume(folder, slices=(0, 5)))
    assert made == ["again"] * 2


def test_the_oracle_is_the_best_of_snapshots_and_kept_weights(run_folder: Path, folder: Path) -> None:
    weights = load_file(run_folder / "weights.safetensors")
    final = ensure_score(run_folder, "A", volume(folder))
    snapshot_path(run_folder, 1).parent.mkdir()
    for step, bias in ((1, -50.0), (2, 50.0)):  # nothing, and everything, is foreground
        changed = {**weights, "head.bias": weights["head.bias"] * 0 + bias}
        # As a run keeps them: the network of two domains.
        save_file({f"network.{name}": t for name, t in changed.items()}, snapshot_path(run_folder, step))
    score = ensure_score(run_folder, "A", volume(folder))
    mask = tifffile.imread(folder / "mask.tif")
    kept = final.per_slice.sum(axis=0)
    best = max(float(kept[0] / kept[:3].sum()), float(mask.mean()))
    assert score.oracle is not None
    assert score.oracle.iou == pytest.approx(best)
    assert np.array_equal(score.per_slice, final.per_slice)
    assert ensure_score(run_folder, "A", volume(folder)).oracle == score.oracle


def test_a_damaged_score_is_refused(run_folder: Path, folder: Path) -> None:
    ensure_score(run_folder, "A", volume(folder))
    kept = json.loads(score_file(run_folder, "A").read_text())
    del kept["per_slice"]
    score_file(run_folder, "A").write_text(json.dumps(kept))
    with pytest.raises(RunError, match=r"scores-A.json is damaged \(KeyError\): remove it"):
        ensure_score(run_folder, "A", volume(folder))


@pytest.mark.parametrize(
    ("keys", "error", "said"),
    [
        ({"slices": (0, 7)}, RecipeError, r"protocol.test.slices is \[0, 7\], but image.tif has 6"),
        ({"columns": (0, 129)}, RecipeError, "protocol.test.columns"),
        ({"voxel_nm": None}, RecipeError, "does not say its voxel size"),
        ({"mask": "small.tif"}, VolumeError, "name the labels of this image"),
        ({"mask": "unknown.tif", "slices": (1, 2)}, VolumeError, "no labelled voxel"),
    ],
)
def test_what_cannot_be_tested_on_is_refused(
    folder: Path, keys: dict[str, Any], error: type[Exception], said: str
) -> None:
    mask = tifffile.imread(folder / "mask.tif")
    tifffile.imwrite(folder / "small.tif", mask[:5])
    mask[1] = 255
    tifffile.imwrite(folder / "unknown.tif", mask)
    with pytest.raises(error, match=said):
        _ = volume(folder, **keys).classes
