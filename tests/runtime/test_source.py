"""Reading a block on the working grid: reflection against the index map, for every region."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dmn_runtime.geometry import Region
from dmn_runtime.plan import Footprint, make_plan, reflect
from dmn_runtime.source import read_working


@st.composite
def spans(draw: st.DrawFn, n: int) -> tuple[int, int]:
    start = draw(st.integers(-30, n - 1))
    return start, draw(st.integers(max(start, 0) + 1, n + 30))


@given(st.tuples(st.integers(1, 4), st.integers(1, 25), st.integers(1, 25)), st.data())
def test_a_region_is_the_reflected_volume(shape: tuple[int, int, int], data: st.DataObject) -> None:
    voxels = np.random.default_rng(0).integers(0, 65536, shape).astype(np.uint16)
    (z0, z1), (y0, y1), (x0, x1) = (data.draw(spans(n)) for n in shape)
    plan = make_plan(shape, (1, 1, 1), None, Footprint(1, 0, 0))
    got = read_working(lambda region: voxels[region.slices].copy(), plan, Region((z0, y0, x0), (z1, y1, x1)))
    index = np.ix_(reflect(z0, z1, shape[0]), reflect(y0, y1, shape[1]), reflect(x0, x1, shape[2]))
    np.testing.assert_array_equal(got, voxels[index])
