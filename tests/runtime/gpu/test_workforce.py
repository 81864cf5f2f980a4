"""`dmn infer` on the fake GPU: as on the processor, and aloud where the kernels do not run."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile

from by_file import imported
from dmn_runtime import inference, setup, workforce
from dmn_runtime.errors import EngineError, PlanError, ResumeError
from dmn_runtime.geometry import Triple
from dmn_runtime.gpu.lane import Buffers
from dmn_runtime.gpu.sheet import sheet_words
from dmn_runtime.inference import Watch, infer
from dmn_runtime.plan import Footprint, make_plan
from dmn_runtime.report import Report
from dmn_runtime.setup import Options
from dmn_runtime.sink.ledger import Ledger
from dmn_runtime.stream import run_stream, threads_for_gpu
from dmn_runtime.workforce import largest_core
from fake_cuda import put_in_place_of_cuda


def _double(name: str) -> ModuleType:
    return imported(Path(__file__).with_name(f"{name}.py"))


@pytest.fixture
def device() -> Any:
    return _double("numpy_device").NumpyDevice()


@pytest.fixture
def fake_gpu(device: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Put the fake GPU in the place of CUDA."""
    put_in_place_of_cuda(device, monkeypatch, tmp_path / "cache")
    return device


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    path = tmp_path / "stack.tif"
    voxels = np.random.default_rng(0).integers(0, 256, (5, 70, 61)).astype(np.uint8)
    tifffile.imwrite(path, voxels, photometric="minisblack")
    return path


def run(package: Path, stack: Path, output: Path, engine: str, **more: Any) -> tuple[Report, list[str]]:
    said: list[str] = []
    options = Options(
        package=str(package), volume=str(stack), output=output, voxel_nm=(50, 5, 5), engine=engine,
        block=(3, 32, 32), tile_px=16, **more,
    )  # fmt: skip
    report = infer(options, Watch(said.append, lambda _: None, lambda _: None))
    assert report is not None
    return report, said


@pytest.mark.parametrize("working_nm", [None, 8.0])
def test_the_output_is_that_of_the_processor(
    fake_gpu: Any,
    small_package: Callable[..., Path],
    stack: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    working_nm: float | None,
) -> None:
    taken: list[int] = []
    fit = Buffers.fit

    def counted(buffers: Buffers, nbytes: int) -> None:
        taken.append(nbytes)
        fit(buffers, nbytes)

    monkeypatch.setattr(Buffers, "fit", counted)
    package = small_package(context=1, working_nm=working_nm)
    report, _ = run(package, stack, tmp_path / "gpu.tif", "cuda", check_seams=True)
    run(package, stack, tmp_path / "cpu.tif", "cpu")
    assert report.engine == "fp32 by a fake, NumPy, fused kernels"
    assert report.gpu is not None
    assert (report.gpu.edge_px, report.gpu.batch, report.gpu.lanes, report.gpu.slab_slices) == (28, 8, 3, 3)
    assert report.gpu.free_before_bytes == fake_gpu.most_bytes
    assert report.gpu.free_after_bytes < fake_gpu.most_bytes
    assert {"stage", "device", "read", "write"} <= set(report.busy_s)
    found, expected = (
        tifffile.imread(tmp_path / f"{name}.probability.tif").astype(int) for name in ("gpu", "cpu")
    )
    assert np.abs(found - expected).max() <= 1
    assert report.seams is not None
    assert report.seams.faces.max_grey <= 1
    # Sheet, patch and output of each lane, before the first block: the second look found room.
    assert len(taken) == 3 * report.gpu.lanes
    fake_gpu.check_empty()


def test_a_run_that_is_stopped_leaves_nothing_on_the_gpu(
    fake_gpu: Any,
    small_package: Callable[..., Path],
    stack: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(inference, "run_stream", stopped)
    with pytest.raises(KeyboardInterrupt):
        run(small_package(), stack, tmp_path / "gpu.tif", "cuda")
    fake_gpu.check_empty()


def test_a_gpu_without_our_kernels_is_fed_by_the_processor_aloud(
    fake_gpu: Any, small_package: Callable[..., Path], stack: Path, tmp_path: Path
) -> None:
    fake_gpu.refusals["load"] = [EngineError("the kernels hold no code for this GPU")]
    report, said = run(small_package(), stack, tmp_path / "gpu.tif", "cuda")
    assert "tiles are cut on the processor, which is slower: the kernels hold no code for this GPU" in said
    assert set(report.busy_s) >= {"gather", "network", "scatter"}
    fake_gpu.check_empty()


@pytest.mark.parametrize("at", [0, 2])
def test_the_largest_core_holds_all(at: int) -> None:
    shape: Triple = (3, 100 + at, 91)
    plan = make_plan(shape, (50, 4.6, 4.6), 10.0, Footprint(4, 8, 0), block=(2, 40, 40))
    largest = largest_core(plan)
    for block in plan.blocks():
        assert all(a <= b for a, b in zip(block.core.shape, largest, strict=True))


def test_the_threads_around_a_gpu() -> None:
    assert vars(threads_for_gpu(3, 16)) == {"readers": 4, "workers": 3, "writers": 8, "slots": 19}
    assert vars(threads_for_gpu(1, 2)) == {"readers": 1, "workers": 1, "writers": 1, "slots": 4}


def test_the_memory_that_a_gpu_wants_of_the_computer_is_looked_at(
    fake_gpu: Any,
    small_package: Callable[..., Path],
    stack: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[Any, ...]] = []

    def required(*what: Any) -> None:
        pinned = sum(memory.nbytes for memory in fake_gpu.memory.values() if not memory.on_device)
        asked.append((*what, pinned))

    monkeypatch.setattr(workforce, "require_memory", required)
    report, _ = run(small_package(), stack, tmp_path / "gpu.tif", "cuda", workers=8)
    assert report.gpu is not None
    [(_, _, threads, wanted, pinned)] = asked
    assert threads == threads_for_gpu(report.gpu.lanes, 8)
    assert wanted == pinned - report.gpu.lanes * 4 * sheet_words(report.gpu.batch)


def test_what_is_in_flight_and_what_is_pinned_must_fit_together(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan((8, 64, 64), (1, 1, 1), None, Footprint(4, 8, 0), block=(2, 32, 32))
    volume: Any = SimpleNamespace(dtype=np.dtype(np.uint16))
    threads = threads_for_gpu(3, 16)
    # A slot holds patch and its mirrored copy, probability, output and mask.
    slot = 2 * 48 * 48 * 3 + 2 * 2 * 32 * 32
    monkeypatch.setattr(setup, "memory_bytes", lambda: 19 * slot + 7)
    setup.require_memory(plan, volume, threads, 7)
    with pytest.raises(PlanError, match="blocks of 2x32x32 voxels need"):
        setup.require_memory(plan, volume, threads, 8)


def test_more_than_the_computer_has_is_refused_and_given_back(
    fake_gpu: Any,
    small_package: Callable[..., Path],
    stack: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there = iter([None, 1000])  # when the plan is laid; when the engine is open
    monkeypatch.setattr(setup, "memory_bytes", lambda: next(there))
    with pytest.raises(
        PlanError, match=r"blocks of 3x32x32 voxels need .* in flight .*: give a smaller --block"
    ):
        run(small_package(), stack, tmp_path / "gpu.tif", "cuda")
    fake_gpu.check_empty()


def begin(package: Path, stack: Path, output: Path) -> dict[str, Any]:
    """Stop a run after two blocks; return what its ledger says of the engine."""

    def two_blocks(plan: Any, indices: Any, *more: Any) -> None:
        run_stream(plan, list(indices)[:2], *more)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inference, "run_stream", two_blocks)
        with pytest.raises(KeyboardInterrupt):
            run(package, stack, output, "cuda")
    header = Ledger.begun(output)
    assert header is not None
    named: dict[str, Any] = header["extra"][setup.ENGINE_KEY]
    return named


def test_a_resumed_run_keeps_batch_and_edge_with_less_memory(
    fake_gpu: Any, small_package: Callable[..., Path], stack: Path, tmp_path: Path
) -> None:
    package, output = small_package(), tmp_path / "gpu.tif"
    named = begin(package, stack, output)
    assert named == {"engine": "cuda", "precision": "fp32", "batch": 8, "edge_px": 28}
    fake_gpu.most_bytes = 40 * 2**20  # where a new run takes batches of 2
    fresh, _ = run(package, stack, tmp_path / "new.tif", "cuda")
    assert fresh.gpu is not None
    assert fresh.gpu.batch == 2
    report, _ = run(package, stack, output, "auto", resume=True)
    assert report.gpu is not None
    assert (report.gpu.batch, report.gpu.edge_px, report.gpu.lanes) == (8, 28, 1)
    assert report.resumed
    fake_gpu.check_empty()


def test_a_resumed_run_without_that_memory_says_so(
    fake_gpu: Any, small_package: Callable[..., Path], stack: Path, tmp_path: Path
) -> None:
    package, output = small_package(), tmp_path / "gpu.tif"
    begin(package, stack, output)
    fake_gpu.most_bytes = 20 * 2**20
    with pytest.raises(ResumeError) as refused:
        run(package, stack, output, "cuda", resume=True)
    said = str(refused.value)
    assert said.startswith("the GPU has 20 MiB free where up to 25 are needed, and this run was begun with ")
    assert "with batches of 8 tiles of 28 px, which must stay as they are" in said
    assert Ledger.begun(output) is not None
    fake_gpu.check_empty()


def test_a_run_begun_with_our_kernels_is_not_resumed_without(
    fake_gpu: Any, small_package: Callable[..., Path], stack: Path, tmp_path: Path
) -> None:
    package, output = small_package(), tmp_path / "gpu.tif"
    begin(package, stack, output)
    fake_gpu.refusals["load"] = [EngineError("the kernels hold no code for this GPU")]
    with pytest.raises(
        ResumeError, match="engine was fp32 by a fake, NumPy, fused kernels when it was begun"
    ):
        run(package, stack, output, "cuda", resume=True)


def test_a_ledger_with_tiles_that_no_network_takes_is_refused(
    fake_gpu: Any, small_package: Callable[..., Path], stack: Path, tmp_path: Path
) -> None:
    package, output = small_package(), tmp_path / "gpu.tif"
    begin(package, stack, output)
    path = output.with_name("gpu.tif.ledger.jsonl")
    head, _, rest = path.read_text().partition("\n")
    header = json.loads(head)
    header["extra"][setup.ENGINE_KEY]["edge_px"] = 7
    path.write_text(json.dumps(header) + "\n" + rest)
    with pytest.raises(ResumeError, match=r"candidate\.edge_px was 7 when it was begun and is 28 now"):
        run(package, stack, output, "cuda", resume=True)
