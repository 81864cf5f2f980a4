"""Plans that are damaged, foreign or refused: one sentence each, with the library's own words."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from dmn_runtime.errors import EngineError
from dmn_runtime.trt.build_job import BuildJob
from dmn_runtime.trt.builder import build
from dmn_runtime.trt.library import Library
from dmn_runtime.trt.loader import explain, load_plan
from dmn_runtime.trt.profile import fixed_profile

PROFILE = fixed_profile(1, 16, 2)


def test_the_doubles_plan_loads(
    network: bytes, fake_plan: Callable[..., bytes], fake_library: Library
) -> None:
    assert load_plan(fake_plan(network, PROFILE), fake_library).engine.num_io_tensors == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda plan: b"junk" + plan, "the plan is damaged or no plan, says TensorRT 11.4.0.106 .*magicTag"),
        (
            lambda plan: plan.replace(b"11.4", b"11.3"),
            "was built by another version, .*expecting library version",
        ),
        (lambda plan: plan.replace(b'"8.6"', b'"8.9"'), "was built for another GPU, .*incompatible device"),
    ],
)
def test_native_plans_that_are_refused(
    change: Any, said: str, network: bytes, fake_plan: Callable[..., bytes], fake_library: Library
) -> None:
    with pytest.raises(EngineError, match=said) as caught:
        load_plan(change(fake_plan(network, PROFILE)), fake_library)
    assert str(caught.value).endswith("build it again on this computer")


def test_a_refusal_without_a_known_cause() -> None:
    assert explain("TensorRT 11.4", "out of luck") == (
        "the plan cannot be loaded, says TensorRT 11.4 (out of luck): build it again on this computer"
    )


# TensorRT-RTX itself: without a driver no plan loads, and it says so instead of ending the process.


@pytest.fixture(scope="module")
def rtx_plan(rtx: Library, network: bytes) -> bytes:
    return build(BuildJob("tensorrt_rtx", "fp32", PROFILE, ("SM86",)), network, rtx)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda plan: plan[:-1], "the plan is damaged"),
        (lambda plan: plan[:63], "63 bytes are no TensorRT-RTX plan"),
        (lambda plan: b"\0" * len(plan), "is no TensorRT-RTX plan"),
        (
            lambda plan: plan[:24] + b"\x01\x06" + plan[26:],
            r"another version, TensorRT-RTX 1\.6\.\d+\.\d+, and",
        ),
    ],
)
def test_rtx_plans_that_are_refused(change: Any, said: str, rtx_plan: bytes, rtx: Library) -> None:
    with pytest.raises(EngineError, match=said):
        load_plan(change(rtx_plan), rtx)


@pytest.mark.parametrize(
    ("bits", "said"),
    [
        (32, "damaged or no plan"),
        (1, "built by another version"),
        (2, "built for another GPU"),
        (4, "a newer NVIDIA driver"),
        (8, "a newer CUDA runtime"),
        (16, "more memory than the GPU has free"),
        (2 | 16, "built for another GPU"),
    ],
)
def test_what_rtx_says_before_it_loads(bits: int, said: str, rtx_plan: bytes, rtx: Library) -> None:
    api = _rtx_double(rtx, (rtx.api.EngineValidity.INVALID, bits), None)  # type: ignore[attr-defined]
    with pytest.raises(EngineError, match=said):
        load_plan(rtx_plan, Library("tensorrt_rtx", api, rtx.version))


@pytest.mark.parametrize("validity", ["VALID", "SUBOPTIMAL", "INVALID"])
def test_without_a_reason_the_plan_is_tried(validity: str, rtx_plan: bytes, rtx: Library) -> None:
    known = getattr(rtx.api.EngineValidity, validity)  # type: ignore[attr-defined]
    api = _rtx_double(rtx, (known, 0), "engine")
    assert load_plan(rtx_plan, Library("tensorrt_rtx", api, rtx.version)).engine == "engine"


def _rtx_double(rtx: Library, validity: tuple[Any, int], engine: Any) -> Any:
    """Return the real module's names around a runtime that answers as told."""
    runtime = SimpleNamespace(
        get_engine_validity=lambda plan: validity, deserialize_cuda_engine=lambda plan: engine
    )
    return SimpleNamespace(
        ILogger=rtx.api.ILogger,
        Runtime=lambda logger: runtime,
        EngineValidity=rtx.api.EngineValidity,  # type: ignore[attr-defined]
        EngineInvalidityDiagnostics=rtx.api.EngineInvalidityDiagnostics,  # type: ignore[attr-defined]
    )
