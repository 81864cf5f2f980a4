"""The fused kernels against their twins: the text that nvcc compiles, run on the CPU by the shim."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dmn_runtime.gpu.kernels import KERNEL_NAMES, THREADS_A_BLOCK

FORMS = [
    pytest.param(voxel, real, layout, id=f"{voxel.__name__}-{real.__name__}-{layout}")
    for voxel in (np.uint8, np.uint16)
    for real in (np.float16, np.float32)
    for layout in ("nchw", "nhwc")
]
SCATTER_FORMS = [pytest.param(*form.values[1:], id=form.id) for form in FORMS[:4]]


def _shim(name: str) -> ModuleType:
    """Import a file of the shim, once; tests are no package."""
    title = f"dmn_test_shim_{name}"
    if title not in sys.modules:
        spec = importlib.util.spec_from_file_location(title, Path(__file__).parent / "shim" / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[title] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[title])
    return sys.modules[title]


shims, cases = _shim("shim"), _shim("cases")


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


@given(nbytes=st.integers(1, 100_000), seed=st.integers(0, 2**32 - 1))
def test_copy_is_its_twin(shim: Any, nbytes: int, seed: int) -> None:
    assert cases.copy_fault(nbytes, shim, seed) is None


@given(
    geometry=geometries(), grid=st.tuples(*[st.integers(1, 3)] * 3), block=st.tuples(*[st.integers(1, 6)] * 3)
)
def test_any_grid_of_any_block_is_right(shim: Any, geometry: Any, grid: Any, block: Any) -> None:
    class AnyGrid:
        def launch(self, name: str, _grid: Any, _block: Any, arguments: Any) -> None:
            shim.launch(name, grid, block, arguments)

    assert cases.gather_fault(cases.gather_case(geometry, np.uint8, np.float16, "nhwc", 1), AnyGrid()) is None
    for channels in (1, 3):
        case = cases.scatter_case(geometry, channels, np.float16, "nchw", 100, True, 1)
        assert cases.scatter_fault(case, AnyGrid()) is None
    across = (grid[0], 1, 1), (block[0], 1, 1)

    class AnyRow:
        def launch(self, name: str, _grid: Any, _block: Any, arguments: Any) -> None:
            shim.launch(name, *across, arguments)

    assert cases.copy_fault(geometry.width * geometry.pitch, AnyRow(), 1) is None


def one_pixel() -> Any:
    """Return a volume, a tile and an output of one voxel."""
    geometry = cases.draw_geometry(lambda low, high: low)
    geometry.sheet[13], geometry.sheet[21:23] = 1, 1
    return geometry


@given(geometry=geometries(), value=st.integers(-100, 100))
@example(geometry=one_pixel(), value=100)
def test_a_wrong_sheet_writes_nothing_outside_the_output(shim: Any, geometry: Any, value: int) -> None:
    geometry.sheet[13] = geometry.count
    for word in range(cases.HEADER_WORDS + 3, cases.HEADER_WORDS + cases.TILE_WORDS):
        case = cases.scatter_case(geometry, 1, np.float16, "nchw", 100, False, 1)
        right, geometry.sheet[word] = int(geometry.sheet[word]), value
        # Within a mebibyte of the output lies all that such a sheet can point to.
        grey = cases.run_scatter(case, shim, guard_bytes=1 << 20)
        geometry.sheet[word] = right
        assert grey.guards_hold()


def test_logits_without_end_are_certain(shim: Any) -> None:
    geometry = one_pixel()
    for logit, grey in ((np.inf, 255), (-np.inf, 0), (65504.0, 255), (-65504.0, 0), (np.nan, 0)):
        case = cases.scatter_case(geometry, 1, np.float16, "nchw", 100, False, 1)
        case.logits[...] = logit
        assert cases.run_scatter(case, shim).array.item() == grey, logit


def test_a_launch_has_the_threads_that_the_source_allows() -> None:
    [most] = re.findall(r"enum { MOST_THREADS = (\d+) };", shims.TILES.read_text())
    assert int(most) >= THREADS_A_BLOCK


PLANTED = {
    "the mirror repeats the edge": ("period - position)", "period - position - 1)"),
    "the mirror's period is too long": ("2 * (n - 1)", "2 * n - 1"),
    "before the volume the mirror is not entered": (
        "position < 0) position += period",
        "false) position += period",
    ),
    "the clamp ends a voxel early": ("+ axis] - 1))", "+ axis] - 2))"),
    "the patch's start is forgotten": (" - sheet[PATCH_START + axis];", ";"),
    "rows follow one another without the pitch": ("* sheet[PATCH_PITCH]", "* sheet[PATCH_SHAPE + 2]"),
    "channels begin at the centre slice": ("origin[0] - channels / 2 +", "origin[0] +"),
    "the vector path begins before the patch": ("x >= max(0, least)", "x >= max(0, least - 1)"),
    "the vector path reaches over the patch": ("most = least + ", "most = 1 + least + "),
    "the vector path reaches over the row": ("x + N <= min(length, most)", "x < length && x + N <= most"),
    "packs are not laid out from an aligned address": ("/ sizeof(T) % N)", "/ sizeof(T) % N * 0)"),
    "loads are wide whatever the address": ("% sizeof(Pack<T, N>) == 0", "% 1 == 0"),
    "the skip along x is lost": ("(skip[0]) * width + skip[1]", "(skip[0]) * width"),
    "the last column of a core is left out": ("min(words[TILE_CORE + 1],", "min(words[TILE_CORE + 1] - 1,"),
    "tiles that are not in use are touched": ("min(sheet[USED_TILES], count)", "count"),
    "grey levels are cut off": ("255.0f), 0.5f)", "255.0f), 0.0f)"),
    "the threshold itself is background": ("grey.of[i] >= threshold", "grey.of[i] > threshold"),
    "the threshold itself is no class": ("grey.of[i] < threshold", "grey.of[i] <= threshold"),
    "the last of equal classes wins": ("value > best[i]", "value >= best[i]"),
    "the end of a copy is left out": ("i = packs * 16 + thread", "i = packs * 16 + 1 + thread"),
    "a copy moves a pack too many": ("packs = bytes / 16", "packs = bytes / 16 + 1"),
    "the background is a class": ("channel = 1; channel < channels", "channel = 0; channel < channels"),
}


@pytest.mark.parametrize(("text", "planted"), PLANTED.values(), ids=PLANTED)
def test_planted_errors_are_noticed(text: str, planted: str) -> None:
    source = shims.TILES.read_text()
    assert source.count(text) == 1
    mutant = shims.compiled_text(source.replace(text, planted), "-O0")
    assert cases.first_fault(mutant, 200) is not None


def test_the_comparison_finds_nothing_in_the_source(shim: Any) -> None:
    assert cases.first_fault(shim, 200) is None
