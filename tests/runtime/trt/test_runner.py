"""The runner on the doubles: the same logits as ONNX Runtime, whatever the batch, the size and the thread."""

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from dmn_runtime.errors import EngineError, GpuMemoryError
from dmn_runtime.gpu.network import DeviceRunner
from dmn_runtime.trt.library import Library
from dmn_runtime.trt.profile import dynamic_profile, fixed_profile
from dmn_runtime.trt.runner import open_runner

HALO = 6


def _tiles(batch: int, height: int, width: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(batch, 1, height, width)).astype(np.float32)


def _reference(network: bytes, tiles: NDArray[np.float32]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    result: NDArray[np.float32] = session.run(None, {"image": tiles})[0]
    return result


@pytest.mark.parametrize("batch", [0, 1, 3, 4, 5, 9])
def test_any_batch(
    batch: int, network: bytes, fake_plan: Callable[..., bytes], fake_library: Library, numpy_device: Any
) -> None:
    tiles = _tiles(batch, 16, 16)
    with open_runner(
        fake_plan(network, fixed_profile(1, 16, 4)), fake_library, numpy_device, "fp32"
    ) as runner:
        logits = runner.run(tiles)
    assert logits.dtype == np.float32
    assert logits.shape == (batch, 1, 16, 16)
    if batch:
        np.testing.assert_allclose(logits, _reference(network, tiles), atol=1e-5)
    assert (numpy_device.memory, numpy_device.streams) == ({}, {})


@pytest.mark.parametrize(("height", "width"), [(32, 32), (26, 30), (32, 20), (14, 32)])
def test_a_smaller_tile_is_right_within_its_halo(
    height: int,
    width: int,
    network: bytes,
    fake_plan: Callable[..., bytes],
    fake_library: Library,
    numpy_device: Any,
) -> None:
    with open_runner(
        fake_plan(network, fixed_profile(1, 32, 2)), fake_library, numpy_device, "fp32"
    ) as runner:
        runner.run(_tiles(2, 32, 32, seed=7))  # what it leaves in the buffers must not be seen
        tiles = _tiles(1, height, width)
        logits = runner.run(tiles)
    assert logits.shape == (1, 1, height, width)
    core = np.s_[:, :, : height - HALO, : width - HALO]
    np.testing.assert_allclose(logits[core], _reference(network, tiles)[core], atol=1e-5)


def test_a_dynamic_plan_pads_nothing(
    network: bytes, fake_plan: Callable[..., bytes], fake_library: Library, numpy_device: Any
) -> None:
    plan = fake_plan(network, dynamic_profile(1, 2, 16, 32, 4))
    with open_runner(plan, fake_library, numpy_device, "fp32") as runner:
        for height, width in ((2, 32), (18, 4), (32, 32)):
            tiles = _tiles(3, height, width)
            np.testing.assert_allclose(runner.run(tiles), _reference(network, tiles), atol=1e-5)


def test_half_precision_is_cast_on_both_sides(
    network: bytes, fake_plan: Callable[..., bytes], fake_library: Library, numpy_device: Any
) -> None:
    tiles = _tiles(2, 16, 16)
    plan = fake_plan(network, fixed_profile(1, 16, 2), "HALF")
    with open_runner(plan, fake_library, numpy_device, "fp16") as runner:
        logits = runner.run(tiles)
        digest = hashlib.sha256(plan).hexdigest()[:12]
        assert runner.description == f"TensorRT 11.4.0.106, NumPy, 8.6, fp16, plan {digest}"
    expected = _reference(network, tiles.astype(np.float16).astype(np.float32))
    assert logits.dtype == np.float32
    np.testing.assert_array_equal(logits, expected.astype(np.float16).astype(np.float32))


@pytest.mark.parametrize("contexts", [1, 3])
def test_many_threads(
    contexts: int, network: bytes, fake_plan: Callable[..., bytes], fake_library: Library, numpy_device: Any
) -> None:
    batches = [_tiles(1 + seed % 3, 16, 16, seed) for seed in range(24)]
    plan = fake_plan(network, fixed_profile(1, 16, 2), contexts=contexts)
    with (
        open_runner(plan, fake_library, numpy_device, "fp32") as runner,
        ThreadPoolExecutor(4) as pool,
    ):
        assert len(numpy_device.streams) == contexts
        for tiles, logits in zip(batches, pool.map(runner.run, batches), strict=True):
            np.testing.assert_allclose(logits, _reference(network, tiles), atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((1, 1, 18, 16), "takes tiles of at most 16 x 16 px, not 18 x 16"),
        ((1, 3, 16, 16), "takes tiles of 1 channels, not 3"),
    ],
)
def test_tiles_that_do_not_fit(
    shape: tuple[int, ...],
    words: str,
    network: bytes,
    fake_plan: Callable[..., bytes],
    fake_library: Library,
    numpy_device: Any,
) -> None:
    with (
        open_runner(
            fake_plan(network, fixed_profile(1, 16, 2)), fake_library, numpy_device, "fp32"
        ) as runner,
        pytest.raises(EngineError, match=words),
    ):
        runner.run(np.zeros(shape, np.float32))


def test_a_failure_on_the_gpu_is_told_and_the_next_call_works(
    network: bytes, fake_plan: Callable[..., bytes], fake_library: Library, numpy_device: Any
) -> None:
    tiles = _tiles(1, 16, 16)
    with open_runner(
        fake_plan(network, fixed_profile(1, 16, 2)), fake_library, numpy_device, "fp32"
    ) as runner:
        runner.plan.engine.fail_next = True  # type: ignore[attr-defined]
        with pytest.raises(EngineError, match=r"failed on NumPy, 8\.6: an illegal memory access"):
            runner.run(tiles)
        np.testing.assert_allclose(runner.run(tiles), _reference(network, tiles), atol=1e-5)


def test_short_memory_leaves_nothing_taken(
    network: bytes, fake_plan: Callable[..., bytes], fake_library: Library, numpy_device: Any
) -> None:
    numpy_device.most_bytes = 3 * 2 * 16 * 16 * 4  # one context takes two such buffers
    plan = fake_plan(network, fixed_profile(1, 16, 2), contexts=2)
    with pytest.raises(EngineError, match="bytes left"):
        open_runner(plan, fake_library, numpy_device, "fp32")
    assert (numpy_device.memory, numpy_device.streams) == ({}, {})


def test_no_context_to_be_had(
    network: bytes, fake_plan: Callable[..., bytes], fake_library: Library, numpy_device: Any
) -> None:
    plan = fake_plan(network, fixed_profile(1, 16, 2)).replace(
        b'"contexts"', b'"contexts_left": 0, "contexts"'
    )
    with pytest.raises(EngineError, match="not enough memory for the plan"):
        open_runner(plan, fake_library, numpy_device, "fp32")


def test_a_plan_of_another_type(
    network: bytes, fake_plan: Callable[..., bytes], fake_library: Library, numpy_device: Any
) -> None:
    plan = fake_plan(network, fixed_profile(1, 16, 2), "INT8")
    with pytest.raises(EngineError, match="tensor image is INT8, float32 or float16 is wanted"):
        open_runner(plan, fake_library, numpy_device, "fp32")
    assert (numpy_device.memory, numpy_device.streams) == ({}, {})


@pytest.mark.parametrize(("height", "width"), [(26, 30), (32, 20), (14, 32)])
def test_the_padding_is_zeros_whatever_ran_before(
    height: int,
    width: int,
    network: bytes,
    fake_plan: Callable[..., bytes],
    fake_library: Library,
    numpy_device: Any,
) -> None:
    tiles = _tiles(1, height, width)
    padded = np.pad(tiles, ((0, 0), (0, 0), (0, 32 - height), (0, 32 - width)))
    with open_runner(
        fake_plan(network, fixed_profile(1, 32, 2)), fake_library, numpy_device, "fp32"
    ) as runner:
        runner.run(_tiles(2, 32, 32, seed=7))
        logits = runner.run(tiles)
    np.testing.assert_allclose(logits, _reference(network, padded)[:, :, :height, :width], atol=1e-5)


def test_a_worker_on_loan_computes_what_lies_in_its_buffers(
    network: bytes, fake_plan: Callable[..., bytes], fake_library: Library, numpy_device: Any
) -> None:
    tiles = _tiles(3, 16, 16)
    plan = fake_plan(network, fixed_profile(1, 16, 4), contexts=2)
    with open_runner(plan, fake_library, numpy_device, "fp32") as runner:
        assert isinstance(runner, DeviceRunner)
        assert (runner.fixed_shape, runner.most_bound, runner.batch_dtype) == ((4, 1, 16, 16), 2, np.float32)
        bound, other = runner.bind((3, 1, 16, 16)), runner.bind((4, 1, 16, 16))
        with pytest.raises(EngineError, match="the plan has 2 contexts and all are in use"):
            runner.bind((1, 1, 16, 16))
        numpy_device.memory_at(bound.image.address).data[: tiles.nbytes] = tiles.ravel().view(np.uint8)
        bound.enqueue()
        bound.stream.synchronise()
        logits = numpy_device.memory_at(bound.logits.address).data.view(np.float32)[: tiles.size]
        np.testing.assert_allclose(logits.reshape(tiles.shape), _reference(network, tiles), atol=1e-5)
        for each in (bound, bound, other):  # the second release does nothing
            each.release()
        np.testing.assert_allclose(runner.run(tiles), _reference(network, tiles), atol=1e-5)
    numpy_device.check_empty()


def test_a_shape_that_the_plan_refuses_returns_the_worker(
    network: bytes, fake_plan: Callable[..., bytes], fake_library: Library, numpy_device: Any
) -> None:
    plan = fake_plan(network, fixed_profile(1, 16, 4))
    with open_runner(plan, fake_library, numpy_device, "fp32") as runner:
        with pytest.raises(EngineError, match=r"the plan refuses batches of shape \(5, 1, 16, 16\)"):
            runner.bind((5, 1, 16, 16))
        runner.bind((1, 1, 16, 16)).release()
    numpy_device.check_empty()


def test_a_library_that_refuses_to_enqueue_is_told(
    network: bytes, fake_plan: Callable[..., bytes], fake_library: Library, numpy_device: Any
) -> None:
    plan = fake_plan(network, fixed_profile(1, 16, 4))
    with open_runner(plan, fake_library, numpy_device, "fp32") as runner:
        bound = runner.bind((4, 1, 16, 16))
        runner.plan.engine.fail_next = True
        with pytest.raises(EngineError, match=r"failed on NumPy, 8\.6: .*illegal memory access"):
            bound.enqueue()
        bound.release()


def pinned(device: Any) -> int:
    """Return how many pieces of the host's memory are pinned."""
    return sum(not memory.on_device for memory in device.memory.values())


def test_nothing_is_pinned_until_a_call_wants_it(
    network: bytes, fake_plan: Callable[..., bytes], fake_library: Library, numpy_device: Any
) -> None:
    plan = fake_plan(network, fixed_profile(1, 16, 4), contexts=2)
    with open_runner(plan, fake_library, numpy_device, "fp32") as runner:
        bound = runner.bind((4, 1, 16, 16))
        bound.enqueue()
        bound.stream.synchronise()
        assert pinned(numpy_device) == 0
        runner.run(_tiles(1, 16, 16))
        assert pinned(numpy_device) == 2  # image and logits of the context that is not lent
        runner.run(_tiles(3, 16, 16))
        assert pinned(numpy_device) == 2
        bound.release()
    numpy_device.check_empty()


def test_a_call_that_cannot_pin_leaves_the_runner_usable(
    network: bytes, fake_plan: Callable[..., bytes], fake_library: Library, numpy_device: Any
) -> None:
    tiles = _tiles(1, 16, 16)
    plan = fake_plan(network, fixed_profile(1, 16, 4))
    with open_runner(plan, fake_library, numpy_device, "fp32") as runner:
        numpy_device.refusals["host_memory"] = [None, GpuMemoryError("no memory can be pinned")]
        with pytest.raises(GpuMemoryError, match="no memory can be pinned"):
            runner.run(tiles)
        np.testing.assert_allclose(runner.run(tiles), _reference(network, tiles), atol=1e-5)
    numpy_device.check_empty()
