"""The page says what the JSON holds: speeds, ratios round by round, and what of the acceptance is met."""

import json
from pathlib import Path
from typing import Any

import pytest
from contest.page import page, write_page
from contest.plots import plot_iou
from contest.store import Store
from contest.verdict import Spread, ratio, speed, spread_of, verdicts

from dmn_runtime.errors import UsageError

COURSE = {"volume": "vnc", "student": "s16"}
PEERS = ("monai-gaussian", "monai-default", "monai-none")


def made_up(seconds: dict[str, list[float]], iou: dict[str, float]) -> Store:
    volume = {
        "file": "image.tif", "voxel_nm": [50.0, 4.6, 4.6], "slices": 0, "mosaic": 2,
        "working_shape": [2, 1000, 1000], "labels": bool(iou),
    }  # fmt: skip
    config = {
        "device": "cpu", "cores": 2, "volumes": {"vnc": volume}, "students": {"s16": {}},
        "contestants": list(seconds),
    }  # fmt: skip
    machine = {
        "cpu": "A processor", "logical_cores": 2, "instruction_sets": ["AVX2"], "gpus": [], "dmn": "0",
        "environments": {"monai": {"python": "3.11", "packages": {"monai": "1.6.1", "left": "9"}}},
    }  # fmt: skip
    measurements = [
        {**COURSE, "contestant": name, "round": turn, "seconds": one, "computed_px": 2_650_000, "detail": {}}
        for name, rounds in seconds.items()
        for turn, one in enumerate(rounds)
    ]
    other = {"iou_inner": 0.8, "max_grey": 6, "mean_grey": 0.25}
    accuracy = [{**COURSE, "contestant": name, "iou": iou.get(name), **other} for name in seconds]
    equality = [{**COURSE, "max_dp": 2.4e-6, "settled": True, "max_grey": 0}]
    left_out = [{**COURSE, "contestant": "torch-em", "why": "it was ill"}]
    return Store(Path("x.json"), config, machine, [], accuracy, equality, measurements, left_out)


def met(dmn: float, *peers: float, iou: dict[str, float] | None = None) -> list[bool | None]:
    seconds = {"dmn-auto": [dmn]} | {name: [one] for name, one in zip(PEERS, peers, strict=True)}
    equal = dict.fromkeys(seconds, 0.7)
    found = verdicts(made_up(seconds, equal if iou is None else iou), COURSE)
    return [one.met for one in found if one.dmn == "dmn-auto"]


def test_speed_is_voxels_of_the_working_grid_per_second() -> None:
    store = made_up({"dmn-auto": [1.0, 4.0, 2.0]}, {})
    assert speed(store, COURSE, "dmn-auto") == Spread(1e6, 0.5e6, 2e6, 3)
    assert speed(store, COURSE, "nobody") is None


def test_ratios_are_made_round_by_round() -> None:
    store = made_up({"dmn-auto": [1.0, 2.0, 1.0], "monai-none": [3.0, 2.0, 8.0, 99.0]}, {})
    assert ratio(store, COURSE, "dmn-auto", "monai-none") == Spread(3.0, 1.0, 8.0, 3)
    assert ratio(store, COURSE, "dmn-auto", "monai-default") is None


def test_the_spread_of_an_even_number() -> None:
    assert spread_of([1.0, 4.0]) == Spread(2.5, 1.0, 4.0, 2)


def test_the_acceptance_met_just_so() -> None:
    assert met(1.0, 8.0, 4.0, 1.5) == [True, True, True]


def test_the_acceptance_missed_by_a_hair() -> None:
    assert met(1.0, 7.99, 3.99, 1.49) == [False, False, False]


def test_speed_does_not_pay_for_a_worse_segmentation() -> None:
    iou = {"dmn-auto": 0.70, "monai-gaussian": 0.7019, "monai-default": 0.7021, "monai-none": 0.6}
    assert met(1.0, 9.0, 9.0, 9.0, iou=iou) == [True, False, True]


@pytest.mark.parametrize("equality", [[], [{**COURSE, "max_dp": 2e-4, "settled": False, "max_grey": 1}]])
def test_nothing_is_met_where_the_networks_are_not_known_to_be_equal(equality: list[dict[str, Any]]) -> None:
    store = example()
    store.equality = equality
    assert {one.met for one in verdicts(store, COURSE)} == {None}
    rows = [line for line in page(store, "").splitlines() if line.startswith("| vnc | s16 | dmn-")]
    assert len(rows) == 6
    assert all(row.endswith("| **not settled** (ONNX against PyTorch, below) |") for row in rows)


def test_without_labels_or_without_the_peer_it_cannot_be_said() -> None:
    assert met(1.0, 9.0, 9.0, 9.0, iou={}) == [None, None, None]
    store = made_up({"dmn-auto": [1.0]}, {"dmn-auto": 0.7})
    assert {one.met for one in verdicts(store, COURSE)} == {None}


def example() -> Store:
    seconds = {"monai-gaussian": [17.0, 16.0], "monai-none": [1.0, 1.2], "dmn-fp32": [2.0, 2.0]}
    seconds["dmn-auto"] = [1.0, 1.0]
    return made_up(seconds, dict.fromkeys(seconds, 0.7123))


def test_the_page_says_it_all() -> None:
    text = page(example(), "| efficiency |")
    for line in (
        "| **dmn-auto** | 2.00 (2.00-2.00) |  |  | 0.7123 (0.8000) | 6, 0.2500 | 2.65 |",
        "| monai-gaussian | 0.12 (0.12-0.12) | 8.25 (8.00-8.50) x | 16.50 (16.00-17.00) x | 0.7123 (0.8000) "
        "| 6, 0.2500 | 2.65 |",
        "| vnc | s16 | dmn-fp32 | monai-gaussian | 8 x | 8.25 (8.00-8.50) x | 0.7123 | 0.7123 | met |",
        "| vnc | s16 | dmn-auto | monai-none | 1.5 x | 1.10 (1.00-1.20) x | 0.7123 | 0.7123 | **not met** |",
        "| vnc | s16 | dmn-auto | monai-default | 4 x | not measured | 0.7123 | not known | cannot be said |",
        "- not measured: torch-em: it was ill",
        "- vnc, s16: largest difference of probabilities 2.4e-06",
        "- monai: Python 3.11, monai 1.6.1",
        "| efficiency |",
    ):
        assert line in text.splitlines(), line
    assert "every slice mirrored into 2 x 2" in text
    assert "A processor (AVX2), 2 logical cores, 2 rounds" in text
    assert "    --volume vnc=image.tif,50x4.6x4.6,LABELS,mosaic=2 \\" in text.splitlines()
    assert "{efficiency}" not in text


def test_what_the_page_said_before_is_kept() -> None:
    text = page(example(), "")
    for title in ("## End to end against the network alone", "## Peak memory", "## Seams", "## Start"):
        assert title in text.splitlines()


def efficiency_json(folder: Path, rows: list[dict[str, Any]]) -> None:
    (folder / "throughput.json").write_text(json.dumps({"rows": rows}), encoding="utf-8")


def test_page_and_plots_are_written(tmp_path: Path) -> None:
    row = {"package": "epfl-s16", "slices": 80, "workers": 1, "network_only_mvoxel_per_s": 4.024}
    row |= {"end_to_end_mvoxel_per_s": 3.817, "ratio_median": 0.946, "ratio_min": 0.931, "ratio_max": 0.948}
    efficiency_json(tmp_path, [row])
    written = write_page(example(), tmp_path)
    assert [path.name for path in written] == ["throughput-speed.png", "throughput-iou.png", "throughput.md"]
    assert all(path.stat().st_size > 500 for path in written)
    lines = written[-1].read_text(encoding="utf-8").splitlines()
    assert "| epfl-s16 | 80 | 1 | 4.02 | 3.82 | 0.946 (0.931 to 0.948) |" in lines
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "throughput-iou.png", "throughput-speed.png", "throughput.json", "throughput.md",
    ]  # fmt: skip


def test_a_plot_without_labels_is_still_a_plot(tmp_path: Path) -> None:
    plot_iou(made_up({"dmn-auto": [1.0]}, {}), tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_nothing_measured_is_no_page(tmp_path: Path) -> None:
    efficiency_json(tmp_path, [])
    with pytest.raises(UsageError, match="holds no measurement yet"):
        write_page(made_up({}, {}), tmp_path)


def test_the_pipelines_efficiency_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gives no pipeline efficiency .FileNotFoundError"):
        write_page(example(), tmp_path)
    efficiency_json(tmp_path, [{"package": "s16"}])
    with pytest.raises(UsageError, match=r"gives no pipeline efficiency .KeyError"):
        write_page(example(), tmp_path)
