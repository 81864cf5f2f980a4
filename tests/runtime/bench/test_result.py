"""The JSON of a bench: units in its keys, there and back, what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dmn_runtime.bench.result import Bench, read_bench, to_json, write_bench
from dmn_runtime.bench.rounds import Ceilings, Round
from dmn_runtime.errors import UsageError
from dmn_runtime.report import GpuFacts

Benches = Callable[..., Bench]


def test_there_and_back(
    bench: Benches, bench_round: Callable[..., Round], on_gpu: GpuFacts, tmp_path: Path
) -> None:
    path = tmp_path / "b.json"
    gpu = bench(rounds=(bench_round(ceilings=Ceilings(1e11, None, None, 1e14), gpu=on_gpu),))
    for one in (bench(), gpu, bench(gpus=("A GPU",), load_average=None, multiply_adds_per_px=None)):
        write_bench(path, one)
        assert read_bench(path) == one


def test_the_document(bench: Benches) -> None:
    document = json.loads(json.dumps(to_json(bench())))
    assert (document["format"], document["format_version"]) == ("dmn-bench", 1)
    assert document["figures"]["end_to_end_voxels_per_s"] == {"median": 2e6, "min": 2e6, "max": 2e6}
    assert document["rounds"][0]["end_to_end"]["queues"] == {"segment": 1.5, "write": 0.25}
    assert document["rounds"][0]["end_to_end"]["gpu"] is None
    network = next(stage for stage in document["stages"] if stage["name"] == "network")
    assert network["percent_of_threads"]["median"] == 75.0
    units = (
        "_per_s",
        "_s",
        "_percent_of_copy",
        "_percent_of_matmul",
        "_percent_of_engine_matmul",
        "_percent_of_network_only",
    )
    assert [name for name in document["figures"] if not name.endswith(units)] == []


def test_what_went_through_a_gpu_is_in_the_document(
    bench: Benches, bench_round: Callable[..., Round], on_gpu: GpuFacts
) -> None:
    document = json.loads(json.dumps(to_json(bench(rounds=(bench_round(gpu=on_gpu),)))))
    assert document["rounds"][0]["end_to_end"]["gpu"] == {
        "edge_px": 1152,
        "batch": 8,
        "lanes": 3,
        "slab_slices": 8,
        "planned_bytes": 2**30,
        "free_before_bytes": 78 * 2**30,
        "free_after_bytes": 74 * 2**30,
    }


def test_a_bench_from_before_the_gpu_was_told_is_read(bench: Benches, tmp_path: Path) -> None:
    document = to_json(bench())
    for one in document["rounds"]:
        del one["end_to_end"]["gpu"]
    (tmp_path / "b.json").write_text(json.dumps(document))
    assert read_bench(tmp_path / "b.json") == bench()


def spoilt(**changes: Any) -> Callable[[dict[str, Any]], object]:
    return lambda document: {**document, **changes}


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda _: [1], "is not of the format dmn-bench 1: measure again"),
        (spoilt(format="dmn-report"), "is not of the format dmn-bench 1: measure again"),
        (spoilt(format_version=2), "is not of the format dmn-bench 1: measure again"),
        (spoilt(rounds=[]), "is damaged"),
        (spoilt(rounds=[{"gather": 1}]), "is damaged"),
        (spoilt(machine={}), "is damaged"),
        (spoilt(volume=None), "is damaged"),
        (spoilt(extent={"voxels": 0, "px": 1, "tiles": 0}), "is damaged"),
        (spoilt(extent={"voxels": 0, "px": 0, "tiles": 0}), "is damaged"),
    ],
)
def test_another_document_is_refused(
    bench: Benches, tmp_path: Path, spoil: Callable[[dict[str, Any]], object], words: str
) -> None:
    path = tmp_path / "b.json"
    path.write_text(json.dumps(spoil(to_json(bench()))))
    with pytest.raises(UsageError, match=words):
        read_bench(path)


def test_what_is_no_file_or_no_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_bench(tmp_path / "absent.json")
    (tmp_path / "b.json").write_text("{")
    with pytest.raises(UsageError, match="is no JSON"):
        read_bench(tmp_path / "b.json")
