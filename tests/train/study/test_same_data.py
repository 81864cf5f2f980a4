"""Runs of one study must have seen the same data."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dmn_runtime.errors import RunError
from dmn_train import file_times
from dmn_train.recipe import PlacedRecipe
from dmn_train.run import Run
from dmn_train.study.job import Job
from dmn_train.study.same_data import check_same_data

TARGET = 'data.target={image = "image.tif", slices = [0, 3], voxel_nm = [5.0, 5.0, 5.0]}'


@pytest.fixture
def runs(placed: Callable[..., PlacedRecipe]) -> dict[str, tuple[Job, Run]]:
    """Two runs of a source and a target; what they recorded may be changed."""

    def run(name: str) -> tuple[Job, Run]:
        recipe = placed(TARGET)
        seen: dict[str, Any] = {"fingerprint": "aa", "shape": [6, 9, 9], "map": {"low": 1.0, "high": 9.0}}
        data = [
            {"role": "source", "mask_fingerprint": "mm", **seen},
            {"role": "target", "mask_fingerprint": None, **seen},
        ]
        empty: Any = None
        facts = {"data": data}
        job = Job(name, ("A",), name, None, 0, None, recipe.folder, ())
        rest = dict.fromkeys(("name", "description", "class_name", "method", "spec", "voxel_nm"), empty)
        rest |= dict.fromkeys(("working_voxel_nm", "normalisation", "threshold", "domain"), empty)
        return job, Run(folder=recipe.folder, placed=recipe, facts=facts, **rest)

    return {name: run(name) for name in ("A/one/seed0", "A/two/seed0")}


def seen(runs: dict[str, tuple[Job, Run]], index: int) -> dict[str, Any]:
    found: dict[str, Any] = runs["A/two/seed0"][1].facts["data"][index]
    return found


def test_like_data_pass(runs: dict[str, tuple[Job, Run]]) -> None:
    check_same_data(runs)


@pytest.mark.parametrize(
    ("index", "key", "volume"),
    [
        (0, "fingerprint", r"image\.tif"),
        (1, "fingerprint", r"image\.tif"),
        (0, "mask_fingerprint", r"mask\.tif"),
    ],
)
def test_other_data_by_the_same_name_are_refused(
    runs: dict[str, tuple[Job, Run]], index: int, key: str, volume: str
) -> None:
    seen(runs, index)[key] = "bb"
    with pytest.raises(RunError, match=rf"A/one/seed0 and A/two/seed0 saw different data .*/{volume} "):
        check_same_data(runs)


def test_of_a_source_all_slices_are_looked_at_and_of_a_target_those_that_it_names(
    runs: dict[str, tuple[Job, Run]], placed: Callable[..., PlacedRecipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_times, "WHOLE_BYTES", 0)  # copies have other fingerprints: shapes are compared
    job, run = runs["A/two/seed0"]
    runs["A/two/seed0"] = job, replace(run, placed=placed(TARGET, "data.source.slices=[0, 3]"))
    run.facts["data"][0].update(fingerprint="bb")
    run.facts["data"][1].update(shape=[3, 9, 9], fingerprint="bb")
    runs["A/one/seed0"][1].facts["data"][1].update(shape=[3, 9, 9])
    check_same_data(runs)  # source and target both use slices 0 to 2, but what they recorded is not alike
    run.facts["data"][0].update(shape=[5, 9, 9])
    with pytest.raises(RunError, match=r"saw different data .*image\.tif"):
        check_same_data(runs)  # other slices are trained on, of what must be the same volume


def test_parts_that_differ_are_not_compared(runs: dict[str, tuple[Job, Run]]) -> None:
    for _, run in runs.values():
        run.facts["data"][1]["fingerprint"] = "bb"  # the target's slices are not the source's
    check_same_data(runs)


@pytest.mark.parametrize("large", [True, False])
def test_of_large_or_absent_volumes_shape_and_map_must_agree(
    runs: dict[str, tuple[Job, Run]], folder: Path, monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    if large:
        monkeypatch.setattr(file_times, "WHOLE_BYTES", 6 * 96 * 128 - 1)
    else:
        (folder / "image.tif").unlink()
    seen(runs, 0)["fingerprint"] = "copied, so that file times differ"
    check_same_data(runs)
    seen(runs, 0)["map"] = {"low": 2.0, "high": 9.0}
    with pytest.raises(RunError, match="saw different data"):
        check_same_data(runs)
    seen(runs, 0).update(map={"low": 1.0, "high": 9.0}, shape=[5, 9, 9])
    with pytest.raises(RunError, match="saw different data"):
        check_same_data(runs)
