"""The fused kernels against their twins: the text that nvcc compiles, run on the CPU by the shim."""

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmn_runtime.gpu.kernels import KERNEL_NAMES

FORMS = [
    pytest.param(voxel, real, layout, id=f"{voxel.__name__}-{real.__name__}-{layout}")
    for voxel in (np.uint8, np.uint16)
    for real in (np.float16, np.float32)
    for layout in ("nchw", "nhwc")
]
SCATTER_FORMS = [pytest.param(*form.values[1:], id=form.id) for form in FORMS[:4]]


def _beside(name: str) -> ModuleType:
    import importlib.util
    import sys
    from pathlib import Path

    title = f"dmn_test_shim_{name}"
    if title not in sys.modules:
        spec = importlib.util.spec_from_file_location(title, Path(__file__).parent / "shim" / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[title] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[title])
    return sys.modules[title]


shims, cases = _beside("shim"), _beside("cases")


@pytest.fixture(scope="module")
def shim() -> Any:
    return shims.compiled()


@st.composite
def geometries(draw: st.DrawFn) -> Any:
    return cases.draw_geometry(lambda low, high: draw(st.integers(low, high)))


def test_the_source_defines_the_kernels_that_are_launched(shim: Any) -> None:
    assert sorted(shim.names) == sorted(KERNEL_NAMES)


@pytest.mark.parametrize(("voxel", "real", "layout"), FORMS)
@given(geometry=geometries(), seed=st.integers(0, 2**32 - 1))
def test_gather_is_its_twin_bit_for_bit(
    shim: Any, voxel: Any, real: Any, layout: str, geometry: Any, seed: int
) -> None:
    case = cases.gather_case(geometry, voxel, real, layout, seed)
    assert cases.gather_fault(case, shim) is None


@pytest.mark.parametrize(("real", "layout"), SCATTER_FORMS)
@given(
    geometry=geometries(),
    channels=st.integers(1, 4),
    threshold=st.integers(0, 255),
    has_mask=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_scatter_is_its_twin_within_a_level(
    shim: Any, real: Any, layout: str, geometry: Any, channels: int, threshold: int, has_mask: bool, seed: int
) -> None:
    case = cases.scatter_case(geometry, channels, real, layout, threshold, has_mask, seed)
    assert cases.scatter_fault(case, shim) is None
