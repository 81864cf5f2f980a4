"""What goes through at once fits, is never less than it must be, and is given up in the order said."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmn_runtime.errors import EngineError, GpuMemoryError, ResumeError
from dmn_runtime.gpu.memory_plan import (
    BatchShape,
    Need,
    begun_too_large,
    halved,
    output_bytes,
    patch_bytes,
    pinned_bytes,
    plan_memory,
    taken_bytes,
)
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


PLAN = replace(NEED, batch=8, loaded=True)
LANE = patch_bytes(NEED, 8) + output_bytes(NEED, 8)
ONE_SLICE = patch_bytes(NEED, 1) + output_bytes(NEED, 1)
BEGUN = replace(NEED, batch=4)


@pytest.mark.parametrize(
    ("room", "expected"),
    [
        (3 * LANE, (1152, 8, 3, 8)),
        (3 * LANE - 1, (1152, 8, 2, 8)),
        (2 * LANE - 1, (1152, 8, 2, 1)),
        (2 * ONE_SLICE - 1, (1152, 8, 1, 1)),
    ],
)
def test_a_plan_that_is_loaded_wants_patch_and_output_alone(
    room: int, expected: tuple[int, int, int, int]
) -> None:
    # An eighth of what is free is left alone.
    share = plan_memory(PLAN, room + room // 7)
    assert (share.edge_px, share.batch, share.lanes, share.slab_slices) == expected
    assert share.nbytes == taken_bytes(PLAN, *expected) <= room


def test_a_plan_for_which_a_slice_is_too_large() -> None:
    with pytest.raises(
        EngineError, match=r"^the GPU has 1 MiB free and one slice of a block takes up to 2 MiB"
    ):
        plan_memory(PLAN, 2**20)


def test_a_run_that_is_resumed_keeps_edge_and_batch() -> None:
    share = plan_memory(BEGUN, 80 * GIB)
    assert (share.edge_px, share.batch, share.lanes, share.slab_slices) == (1152, 4, 3, 8)
    share = plan_memory(BEGUN, 2 * GIB)
    assert (share.edge_px, share.batch, share.lanes, share.slab_slices) == (1152, 4, 1, 1)
    with pytest.raises(ResumeError) as refused:
        plan_memory(BEGUN, GIB)
    needed = taken_bytes(BEGUN, 1152, 4, 1, 1) / 2**20
    assert str(refused.value) == (
        f"the GPU has 1024 MiB free where up to {needed:.0f} are needed, and this run was begun with batches "
        "of 4 tiles of 1152 px, which must stay as they are for the same result: close other programs that "
        "use the GPU's memory, or start anew with --overwrite"
    )


def test_the_remedy_of_a_library_is_not_that_of_a_resumed_run() -> None:
    said = str(
        begun_too_large(BatchShape(2, 64), str(GpuMemoryError("the GPU is full: take a smaller tile")))
    )
    assert said.startswith("the GPU is full, and this run was begun with batches of 2 tiles of 64 px, which ")


@pytest.mark.parametrize(
    ("batch", "suits"),
    [
        (BatchShape(8, 136), True),
        (BatchShape(8, 128), False),
        (BatchShape(8, 140), False),
        (BatchShape(0, 136), False),
    ],
)
def test_which_tiles_a_network_can_be_given(batch: BatchShape, suits: bool) -> None:
    assert batch.suits(NEED.footprint) is suits


def test_no_more_lanes_than_can_be_bound() -> None:
    share = plan_memory(NEED, 80 * GIB, most_lanes=1)
    assert (share.batch, share.lanes) == (8, 1)
    assert share.nbytes == taken_bytes(NEED, 1152, 8, 1, 8)


def test_what_is_given_up_when_memory_is_short_after_all() -> None:
    share = plan_memory(NEED, 3 * GIB)
    assert (share.batch, share.lanes) == (2, 3)
    half = halved(NEED, share)
    assert half == replace(share, batch=1, nbytes=taken_bytes(NEED, 1152, 1, 3, 8))
    fewer = halved(NEED, half)
    assert fewer == replace(half, lanes=2, nbytes=taken_bytes(NEED, 1152, 1, 2, 8))
    assert halved(NEED, replace(half, lanes=1)) is None
    for given_batch in (PLAN, BEGUN):
        kept = plan_memory(given_batch, 80 * GIB)
        fewer = halved(given_batch, kept)
        assert fewer == replace(kept, lanes=2, nbytes=taken_bytes(given_batch, 1152, kept.batch, 2, 8))
        assert halved(given_batch, replace(kept, lanes=1)) is None


def test_the_second_look_of_the_seam_check_has_room() -> None:
    need = replace(NEED, block=(8, 40, 1024), again_px=100)
    assert patch_bytes(need, 1) == (100 + 2 * 8 + 2 * 64) * 1168
    assert output_bytes(need, 1) == 100 * 1024
    assert plan_memory(need, 80 * GIB).batch == plan_memory(replace(need, again_px=0), 80 * GIB).batch


def test_what_lanes_pin() -> None:
    share = plan_memory(NEED, 80 * GIB)
    assert pinned_bytes(NEED, share) == 3 * LANE


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
