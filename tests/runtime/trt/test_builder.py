"""Plans really built by TensorRT-RTX, without a GPU, from one convolution; and what is refused."""

import itertools
from types import SimpleNamespace
from typing import Any, NoReturn

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from dmn_runtime.errors import EngineError
from dmn_runtime.trt import builder
from dmn_runtime.trt.build_job import BuildJob
from dmn_runtime.trt.builder import build, check_native_targets, check_plan
from dmn_runtime.trt.library import Library
from dmn_runtime.trt.plan_header import read_header
from dmn_runtime.trt.profile import dynamic_profile, fixed_profile
from dmn_runtime.trt.progress import Progress
from dmn_runtime.trt.targets import LINUX, WINDOWS

FIVE = ("SM75", "SM80", "SM86", "SM89", "SM120")
FIXED = fixed_profile(1, 16, 2)


def tiny(precision: str) -> bytes:
    """Return a 3x3 convolution in one of the three precisions, as ONNX bytes."""
    half = precision == "fp16"
    kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    weight = np.full((1, 1, 3, 3), 0.1, np.float16 if half else np.float32)
    nodes, initial, image = [], [numpy_helper.from_array(weight, "w")], "image"
    if precision == "int8-trt":
        initial += [
            numpy_helper.from_array(np.array(0.05, np.float32), "scale"),
            numpy_helper.from_array(np.array(0, np.int8), "zero"),
        ]
        nodes = [
            helper.make_node("QuantizeLinear", ["image", "scale", "zero"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
        ]
        image = "d"
    nodes.append(helper.make_node("Conv", [image, "w"], ["logits"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]))
    ports = [helper.make_tensor_value_info(name, kind, ["n", 1, "h", "w"]) for name in ("image", "logits")]
    graph = helper.make_graph(nodes, "tiny", ports[:1], ports[1:], initial)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def job(precision: str = "fp32", **changes: Any) -> BuildJob:
    values = {"profile": FIXED, "compute_capabilities": ("SM86",), "platform": LINUX} | changes
    return BuildJob("tensorrt_rtx", precision, **values)


@pytest.mark.parametrize("profile", [FIXED, dynamic_profile(1, 1, 8, 16, 2)], ids=["fixed", "dynamic"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8-trt"])
def test_builds(precision: str, profile: Any, rtx: Library) -> None:
    plan = build(job(precision, profile=profile, compute_capabilities=FIVE), tiny(precision), rtx)
    header = read_header(plan)
    assert (header.version, header.plan_bytes, header.targets) == (rtx.version, len(plan), 0x1F)


@pytest.mark.parametrize(("capability", "bit"), [*zip(FIVE, (1, 2, 4, 8, 16), strict=True)])
def test_the_header_tells_each_target(capability: str, bit: int, rtx: Library) -> None:
    plan = build(job(compute_capabilities=(capability,)), tiny("fp32"), rtx)
    assert read_header(plan).targets == bit


@pytest.mark.parametrize("changes", [{"optimisation_level": 0}, {"platform": WINDOWS}])
def test_builds_with(changes: dict[str, Any], rtx: Library) -> None:
    assert len(build(job(**changes), tiny("fp32"), rtx)) > 1000


def test_each_context_has_its_profile(rtx: Library) -> None:
    one, three = (len(build(job(contexts=n), tiny("fp32"), rtx)) for n in (1, 3))
    assert three > one


def test_progress_never_falls_and_ends_at_one(rtx: Library) -> None:
    seen: list[Progress] = []
    build(job(), tiny("fp32"), rtx, seen.append)
    fractions = [progress.fraction for progress in seen]
    assert fractions == sorted(fractions)
    assert fractions[0] < 0.1
    assert fractions[-1] == 1.0
    assert seen[0].phase


def test_what_the_report_raises_ends_the_build(rtx: Library) -> None:
    def stop(progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(job(), tiny("fp32"), rtx, stop)


@pytest.mark.parametrize(("asked", "given"), [*itertools.permutations(["fp32", "fp16", "int8-trt"], 2)])
def test_the_network_must_be_of_the_jobs_precision(asked: str, given: str, rtx: Library) -> None:
    with pytest.raises(EngineError, match=f"the network is {given}, the build is for {asked}"):
        build(job(asked), tiny(given), rtx)


def _constant_batch() -> bytes:
    model = onnx.load_from_string(tiny("fp32"))
    model.graph.node[0].attribute[0].ints[:] = [5, 5]
    return bytes(model.SerializeToString())


def _two_outputs() -> bytes:
    model = onnx.load_from_string(tiny("fp32"))
    model.graph.node.append(helper.make_node("Relu", ["logits"], ["second"]))
    model.graph.output.append(helper.make_tensor_value_info("second", TensorProto.FLOAT, ["n", 1, "h", "w"]))
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (b"", "the network's ONNX file is empty"),
        (b"no network" * 9, "cannot read the network: .*Failed to parse"),
        (tiny("fp32")[:-40], "cannot read the network"),
        (_constant_batch(), "TensorRT-RTX [0-9.]+ cannot (read|build) the network: .*kernel"),
        (_two_outputs(), "one input and one output, this one has 1 and 2"),
    ],
    ids=["empty", "junk", "truncated", "contradictory", "two outputs"],
)
def test_networks_that_are_refused(network: bytes, said: str, rtx: Library) -> None:
    with pytest.raises(EngineError, match=said) as caught:
        build(job(), network, rtx)
    assert "\n" not in str(caught.value)


def test_channels_must_agree(rtx: Library) -> None:
    with pytest.raises(EngineError, match="takes 1 channels, the build's profile says 3"):
        build(job(profile=fixed_profile(3, 16, 2)), tiny("fp32"), rtx)


def test_this_gpu_needs_a_driver(rtx: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> NoReturn:
        raise EngineError("this computer has no NVIDIA driver")

    monkeypatch.setattr(builder, "require_driver", none)
    with pytest.raises(EngineError, match="no NVIDIA driver"):
        build(job(compute_capabilities=()), tiny("fp32"), rtx)


def test_the_job_and_the_library_are_one(rtx: Library) -> None:
    with pytest.raises(ValueError, match="the job is for tensorrt, the library is tensorrt_rtx"):
        build(BuildJob("tensorrt", "fp32", FIXED), tiny("fp32"), rtx)


@pytest.fixture(scope="module")
def plan(rtx: Library) -> bytes:
    return build(job(compute_capabilities=("SM86", "SM89")), tiny("fp32"), rtx)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda plan: b"", "a plan of 0 bytes, which is none"),
        (lambda plan: plan[:-1], "is damaged: it has [0-9]+ bytes and says that it has"),
        (lambda plan: plan + b"\0", "is damaged"),
        (lambda plan: b"x" * len(plan), "is no TensorRT-RTX plan"),
        (lambda plan: plan[:28] + b"x" + plan[29:], "is no TensorRT-RTX plan"),
        (lambda plan: plan[:25] + b"\x06" + plan[26:], r"built by TensorRT-RTX 1\.6\."),
        (lambda plan: plan[:32] + b"\x04" + plan[33:], r"is not for SM86, SM89 \(its targets are 0x4\)"),
    ],
    ids=["empty", "cut", "grown", "junk", "second magic", "version", "targets"],
)
def test_plans_that_are_refused(change: Any, said: str, plan: bytes, rtx: Library) -> None:
    asked = job(compute_capabilities=("SM86", "SM89"))
    check_plan(plan, asked, rtx.version)
    with pytest.raises(EngineError, match=said):
        check_plan(change(plan), asked, rtx.version)


def test_any_version_will_do_where_none_is_named(plan: bytes) -> None:
    check_plan(plan[:25] + b"\x06" + plan[26:], job(compute_capabilities=("SM86", "SM89")))


# Native TensorRT builds nowhere without a GPU: its settings are watched on a double of its configuration.


class _Config(SimpleNamespace):
    def clear_flag(self, flag: Any) -> None:
        self.cleared = flag


def _native(monkeypatch: pytest.MonkeyPatch, asked: BuildJob, gpu: str = "8.6") -> Any:
    api: Any = SimpleNamespace(
        BuilderFlag=SimpleNamespace(TF32="TF32"),
        HardwareCompatibilityLevel=SimpleNamespace(AMPERE_PLUS="AMPERE_PLUS"),
        RuntimePlatform=SimpleNamespace(WINDOWS_AMD64="WINDOWS_AMD64"),
    )
    monkeypatch.setattr(builder, "first_compute_capability", lambda: gpu)
    monkeypatch.setattr(builder, "this_platform", lambda: LINUX)
    config = _Config()
    builder._configure(config, asked, Library("tensorrt", api, "11.4"), builder.Log())
    return vars(config)


@pytest.mark.parametrize(
    ("changes", "set_up"),
    [
        ({}, {"cleared": "TF32"}),
        ({"optimisation_level": 5}, {"cleared": "TF32", "builder_optimization_level": 5}),
        ({"compute_capabilities": ("SM86",)}, {"cleared": "TF32"}),
        (
            {"compute_capabilities": ("SM86", "SM89")},
            {"cleared": "TF32", "hardware_compatibility_level": "AMPERE_PLUS"},
        ),
        ({"platform": WINDOWS}, {"cleared": "TF32", "runtime_platform": "WINDOWS_AMD64"}),
    ],
)
def test_native_settings(
    changes: dict[str, Any], set_up: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _native(monkeypatch, BuildJob("tensorrt", "fp32", FIXED, **changes)) == set_up


def test_native_builds_for_its_own_gpu_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = BuildJob("tensorrt", "fp32", FIXED, ("SM89",))
    with pytest.raises(EngineError, match=r"which is RTX 30 \(Ampere\) and not SM89"):
        _native(monkeypatch, asked)
    with pytest.raises(EngineError, match=r"which is of compute capability 9\.0 and not SM89"):
        _native(monkeypatch, asked, "9.0")


def test_native_cannot_join_turing_and_later() -> None:
    check_native_targets(("SM75",))
    check_native_targets(("SM80", "SM120"))
    with pytest.raises(EngineError, match="SM75 is older"):
        check_native_targets(("SM75", "SM86"))


def test_a_platform_that_the_library_refuses_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stubborn(_Config):
        @property
        def runtime_platform(self) -> str:
            return "SAME_AS_BUILD"

        @runtime_platform.setter
        def runtime_platform(self, value: str) -> None:
            """Only log, as the library does."""

    monkeypatch.setitem(globals(), "_Config", Stubborn)
    with pytest.raises(EngineError, match="cannot build for windows_x86_64 here: it gave no reason"):
        _native(monkeypatch, BuildJob("tensorrt", "fp32", FIXED, platform=WINDOWS))


def test_a_builder_that_does_not_open_is_told() -> None:
    def refuse(logger: Any) -> NoReturn:
        raise TypeError("factory function returned nullptr")

    api: Any = SimpleNamespace(Builder=refuse)
    with pytest.raises(EngineError, match="native TensorRT needs an NVIDIA driver and GPU"):
        builder._open_builder(Library("tensorrt", api, "11.4"), None)
