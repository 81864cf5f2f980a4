"""Students as they are exported, built into plans by TensorRT-RTX: every precision, student and profile.

Random weights: what is tested is that the builder takes what the exporter makes, for the five GPU families
together and each alone.
"""

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from dmn_export.onnx_export import export_onnx
from dmn_export.precision import to_fp16, to_int8, to_int8_trt
from dmn_runtime.errors import EngineError
from dmn_runtime.trt.build_job import BuildJob
from dmn_runtime.trt.builder import build
from dmn_runtime.trt.library import Library, load_library
from dmn_runtime.trt.plan_header import read_header
from dmn_runtime.trt.profile import dynamic_profile, fixed_profile
from dmn_runtime.trt.targets import FAMILIES
from dmn_train.networks.sizes import SIZES
from dmn_train.networks.unet import UNet

STRIDE = 8
FIXED = fixed_profile(1, 64, 4)
DYNAMIC = dynamic_profile(1, STRIDE, 64, 128, 4)
ALL = tuple(family.capability for family in FAMILIES)
BITS = dict(zip(ALL, (1, 2, 4, 8, 16), strict=True))

Networks = Callable[[str, str], bytes]


@pytest.fixture(scope="module")
def rtx() -> Library:
    pytest.importorskip(
        "tensorrt_rtx", reason="tensorrt-rtx-cu13 is not installed: pip install it to build plans"
    )
    return load_library("tensorrt_rtx")


@pytest.fixture(scope="module")
def networks() -> Networks:
    """Return a maker of ONNX files (student, precision), each made once."""
    tiles = np.random.default_rng(0).normal(size=(2, 1, 64, 64)).astype(np.float32)
    makers = {
        "fp32": lambda network: network,
        "fp16": to_fp16,
        "int8": lambda network: to_int8(network, tiles),
        "int8-trt": lambda network: to_int8_trt(network, tiles),
    }
    made: dict[tuple[str, str], bytes] = {}

    def network(student: str, precision: str) -> bytes:
        if (student, "fp32") not in made:
            spec = SIZES[student]
            made[student, "fp32"] = export_onnx(UNet(spec), spec.in_channels, spec.stride_px)
        if (student, precision) not in made:
            made[student, precision] = makers[precision](made[student, "fp32"])
        return made[student, precision]

    return network


@pytest.mark.parametrize("profile", [FIXED, DYNAMIC], ids=["fixed", "dynamic"])
@pytest.mark.parametrize(
    ("student", "precision"), [*itertools.product(("s8", "s16"), ("fp32", "fp16", "int8-trt"))]
)
def test_five_families_in_one_plan(
    student: str, precision: str, profile: object, networks: Networks, rtx: Library
) -> None:
    job = BuildJob("tensorrt_rtx", precision, profile, ALL)  # type: ignore[arg-type]
    plan = build(job, networks(student, precision), rtx)
    header = read_header(plan)
    assert (header.version, header.plan_bytes, header.targets) == (rtx.version, len(plan), sum(BITS.values()))


@pytest.mark.parametrize("capability", ALL)
@pytest.mark.parametrize(("student", "precision"), [("s8", "fp32"), ("s16", "fp16"), ("s8", "int8-trt")])
def test_each_family_alone(
    student: str, precision: str, capability: str, networks: Networks, rtx: Library
) -> None:
    plan = build(BuildJob("tensorrt_rtx", precision, FIXED, (capability,)), networks(student, precision), rtx)
    assert read_header(plan).targets == BITS[capability]


def test_a_tile_that_is_no_multiple_of_the_stride(networks: Networks, rtx: Library) -> None:
    job = BuildJob("tensorrt_rtx", "fp32", fixed_profile(1, 60, 1), ALL)
    with pytest.raises(EngineError, match="dimensions must be equal for concatenation"):
        build(job, networks("s8", "fp32"), rtx)


def test_the_cpus_int8_is_refused(networks: Networks, rtx: Library) -> None:
    with pytest.raises(EngineError, match=r"cannot read the network: .*bias"):
        build(BuildJob("tensorrt_rtx", "int8-trt", FIXED, ALL), networks("s8", "int8"), rtx)
