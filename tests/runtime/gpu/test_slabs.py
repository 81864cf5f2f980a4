"""Slabs partition the core; their patches hold all that their tiles mirror to."""

from hypothesis import given
from hypothesis import strategies as st

from dmn_runtime.geometry import Region
from dmn_runtime.gpu.slabs import cut_slabs
from dmn_runtime.plan import Footprint
from dmn_runtime.source import mirrored_inside

LENGTH = st.integers(1, 60)


@given(st.tuples(st.integers(1, 7), LENGTH, LENGTH), st.integers(0, 2), st.integers(1, 9), st.data())
def test_slabs_partition_the_core(
    volume: tuple[int, int, int], context: int, slices: int, data: st.DataObject
) -> None:
    footprint = Footprint(4, 8, context)
    start = tuple(data.draw(st.integers(0, n - 1)) for n in volume)
    stop = tuple(data.draw(st.integers(a + 1, n)) for a, n in zip(start, volume, strict=True))
    core = Region(start, stop)  # type: ignore[arg-type]
    edge = 16 + data.draw(st.sampled_from([4, 8, 64]))
    slabs = cut_slabs(core, volume, footprint, edge, slices)
    assert sum(slab.core.size for slab in slabs) == core.size
    for slab in slabs:
        assert core.contains(slab.core)
        assert slab.core.shape[0] <= slices
        assert sum(tile.core.size for tile in slab.tiles) == slab.core.size
        for tile in slab.tiles:
            assert tile.inner.shape[1] <= edge - 16
            assert tile.inner.shape[2] <= edge - 16
            assert slab.core.contains(tile.core)
            assert slab.patch.contains(mirrored_inside(tile.read(footprint), volume))
