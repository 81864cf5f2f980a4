"""Shapes of a plan, and how batches are cut into them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmn_runtime.errors import EngineError
from dmn_runtime.trt.profile import Pass, TileProfile, dynamic_profile, fixed_profile, plan_passes


def test_fixed() -> None:
    assert fixed_profile(3, 1152, 4) == TileProfile(
        (1, 3, 1152, 1152), (4, 3, 1152, 1152), (4, 3, 1152, 1152)
    )


def test_dynamic() -> None:
    assert dynamic_profile(1, 8, 512, 1024, 2) == TileProfile(
        (1, 1, 8, 8), (2, 1, 512, 512), (2, 1, 1024, 1024)
    )


@pytest.mark.parametrize(("best", "most"), [(510, 1024), (512, 1020)])
def test_edges_are_multiples_of_the_stride(best: int, most: int) -> None:
    with pytest.raises(EngineError, match="multiple of the stride 8"):
        dynamic_profile(1, 8, best, most, 1)


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        (
            ((1, 1, 8, 8), (1, 1, 16, 8), (1, 1, 8, 8)),
            "height must grow from least over best to most, not 8, 16, 8",
        ),
        (((0, 1, 8, 8), (1, 1, 8, 8), (1, 1, 8, 8)), r"four positive numbers \(nchw\), not \(0, 1, 8, 8\)"),
        (((1, 1, 8), (1, 1, 8, 8), (1, 1, 8, 8)), "four positive numbers"),
        (((1, 1, 8, 8), (1, 2, 8, 8), (1, 3, 8, 8)), "one number of channels, a profile gives 1 to 3"),
    ],
)
def test_shapes_that_are_no_profile(shapes: tuple[tuple[int, ...], ...], said: str) -> None:
    with pytest.raises(EngineError, match=said):
        TileProfile(*shapes)  # type: ignore[arg-type]


def test_passes_by_hand() -> None:
    profile = TileProfile((2, 1, 16, 16), (4, 1, 32, 32), (4, 1, 64, 64))
    assert plan_passes((9, 1, 8, 40), profile) == (
        Pass(0, 4, (4, 1, 16, 40)),
        Pass(4, 8, (4, 1, 16, 40)),
        Pass(8, 9, (2, 1, 16, 40)),
    )
    assert plan_passes((0, 1, 16, 16), profile) == ()


@given(
    st.integers(0, 40),
    st.integers(1, 64),
    st.integers(1, 64),
    st.tuples(st.integers(1, 4), st.integers(4, 8), st.integers(1, 32), st.integers(32, 64)),
)
def test_passes_cover_the_batch_once_and_fit(
    batch: int, height: int, width: int, bounds: tuple[int, int, int, int]
) -> None:
    least_n, most_n, least_px, most_px = bounds
    profile = TileProfile(
        (least_n, 1, least_px, least_px), (most_n, 1, most_px, most_px), (most_n, 1, most_px, most_px)
    )
    if max(height, width) > most_px:
        with pytest.raises(EngineError, match="build it for this tile size"):
            plan_passes((batch, 1, height, width), profile)
        return
    passes = plan_passes((batch, 1, height, width), profile)
    assert [tile for each in passes for tile in range(each.start, each.stop)] == list(range(batch))
    for each in passes:
        assert all(
            low <= size <= high
            for low, size, high in zip(profile.least, each.shape, profile.most, strict=True)
        )
        assert each.shape[0] >= each.stop - each.start
        assert each.shape[2] >= height
        assert each.shape[3] >= width
