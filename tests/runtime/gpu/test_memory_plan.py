"""What goes through at once fits, is never less than it must be, and is given up in the order said."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmn_runtime.errors import EngineError
from dmn_runtime.gpu.memory_plan import Need, output_bytes, patch_bytes, plan_memory, taken_bytes
from dmn_runtime.plan import Footprint

NEED = Need(Footprint(8, 64, 0), 1, 150, 2, 1, (8, 1024, 1024), 1152)
GIB = 2**30


def test_by_hand() -> None:
    need = Need(Footprint(4, 8, 1), 3, 10, 4, 2, (2, 20, 30), 48)
    # 20 + 2 * 4 (stride) + 2 * 8 (halo) rows of 30 + 8 + 16 = 54 -> 64 voxels of 2 bytes, 2 + 2 slices
    assert patch_bytes(need, 2) == 4 * 44 * 64 * 2
    assert output_bytes(need, 2) == 2 * 20 * 30
    activations = 5 * 48 * 48 * (10 + 3 + 1) * 4
    assert taken_bytes(need, 48, 5, 3, 2) == 3 * (activations + 4 * 44 * 64 * 2 + 1200)


def test_a_large_gpu_gets_all_of_it() -> None:
    share = plan_memory(NEED, 80 * GIB)
    assert (share.edge_px, share.batch, share.lanes, share.slab_slices) == (1152, 8, 3, 8)


@pytest.mark.parametrize(
    ("free", "expected"),
    [
        (11 * GIB, (1152, 8, 3, 8)),
        (6 * GIB, (1152, 4, 3, 8)),
        (3 * GIB, (1152, 2, 3, 8)),
        (2 * GIB, (1152, 2, 2, 8)),
        (GIB, (1152, 1, 2, 1)),
        (GIB // 2, (1152, 1, 1, 1)),
        (GIB // 4, (640, 1, 1, 1)),
    ],
)
def test_what_is_given_up(free: int, expected: tuple[int, int, int, int]) -> None:
    share = plan_memory(NEED, free)
    assert (share.edge_px, share.batch, share.lanes, share.slab_slices) == expected


def test_a_plan_of_one_size_is_not_cut_smaller() -> None:
    with pytest.raises(EngineError, match=r"256 MiB free and one tile of 1152 px takes up to .* --tile"):
        plan_memory(NEED, GIB // 4, fixed_edge=True)


def test_no_room_for_the_smallest_tile() -> None:
    with pytest.raises(EngineError, match="8 MiB free and one tile of 256 px takes up to"):
        plan_memory(NEED, 8 * 2**20)


@given(
    free=st.integers(1, 40 * GIB),
    values=st.integers(1, 4000),
    depth=st.integers(1, 64),
    edge=st.sampled_from([136, 256, 1152]),
    block=st.integers(1, 4096),
)
def test_it_always_fits_and_more_memory_is_never_less(
    free: int, values: int, depth: int, edge: int, block: int
) -> None:
    need = replace(NEED, values_per_px=values, block=(depth, block, block), edge_px=edge)
    try:
        share = plan_memory(need, free)
    except EngineError:
        return
    assert share.nbytes == taken_bytes(need, share.edge_px, share.batch, share.lanes, share.slab_slices)
    assert share.nbytes <= free
    assert 1 <= share.slab_slices <= depth
    assert share.edge_px % 8 == 0
    more = plan_memory(need, 2 * free)
    assert (more.edge_px, more.batch * more.lanes) >= (share.edge_px, share.batch * share.lanes)
