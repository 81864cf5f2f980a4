"""The planner of live mode, without a file: what is done next, and that nothing is forgotten."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmn_runtime.live.schedule import (
    OPEN_END,
    Look,
    Segment,
    is_done,
    next_step,
    slab_blocks,
    slab_extent,
    slab_planes,
    slabs_reading,
    wanted_stamp,
)
from dmn_runtime.plan import Footprint, Plan, make_plan


def plan_of(depth: int, block_z: int, context: int) -> Plan:
    """Return a plan with two blocks a slab."""
    footprint = Footprint(2, 4, context)
    plan = make_plan((depth, 8, 300), (1.0, 1.0, 1.0), None, footprint, block=(block_z, 256, 256))
    assert plan.counts[1:] == (1, 2)
    return plan


def test_a_slab_reads_its_slices_with_context_reflected_at_both_ends() -> None:
    plan = plan_of(10, 4, 2)
    assert [slab_planes(plan, slab) for slab in range(3)] == [
        (2, 1, 0, 1, 2, 3, 4, 5),
        (2, 3, 4, 5, 6, 7, 8, 9),
        (6, 7, 8, 9, 8, 7),
    ]
    assert [slab_extent(plan, slab) for slab in range(3)] == [(0, 4), (4, 8), (8, 10)]
    assert slab_blocks(plan, 2) == range(4, 6)


def test_without_an_end_the_last_slabs_wait() -> None:
    plan = plan_of(OPEN_END, 4, 1)
    slices = dict.fromkeys(range(9), 7)
    assert slab_planes(plan, 1) == (3, 4, 5, 6, 7, 8)
    assert isinstance(next_step(plan, [1], slices, {}, set()), Segment)
    assert next_step(plan, [1], dict.fromkeys(range(8), 7), {}, set()) is None


@given(st.integers(1, 12), st.integers(1, 5), st.integers(0, 4))
def test_the_slabs_that_read_a_slice_are_all_found(depth: int, block_z: int, context: int) -> None:
    plan = plan_of(depth, min(block_z, depth), context)
    for z in range(depth):
        found = list(slabs_reading(plan, z))
        assert found == [slab for slab in range(plan.counts[0]) if z in slab_planes(plan, slab)]


def test_what_nobody_has_looked_at_is_looked_at_first_and_early() -> None:
    plan = plan_of(8, 4, 0)
    assert next_step(plan, [0, 1], {1: None}, {}, set()) == Look(1)  # slab 0 is not whole: for want of work
    slices = {**dict.fromkeys(range(4), 1), 5: None}
    assert isinstance(next_step(plan, [0, 1], slices, {}, set()), Segment)  # work comes first
    assert next_step(plan, [0, 1], {**slices, 2: None}, {}, set()) == Look(2)
    assert next_step(plan, [0, 1], slices, {}, {0, 1}) == Look(5)  # all of slab 0 is on its way


def test_blocks_come_once_and_again_when_a_slice_has_another_content() -> None:
    plan = plan_of(8, 4, 1)
    slices: dict[int, int | None] = dict.fromkeys(range(8), 1)
    stamp = wanted_stamp(plan, 0, slices)
    assert next_step(plan, [0], slices, {}, set()) == Segment(0, (1, 0, 1, 2, 3, 4), stamp)
    assert next_step(plan, [0], slices, {}, {0}) == Segment(1, (1, 0, 1, 2, 3, 4), stamp)
    assert next_step(plan, [0], slices, {0: stamp, 1: stamp}, set()) is None
    assert is_done(plan, 0, slices, {0: stamp, 1: stamp})
    slices[4] = 2  # context of slab 0
    again = next_step(plan, [0], slices, {0: stamp, 1: stamp}, set())
    assert isinstance(again, Segment)
    assert again.stamp != stamp
    assert not is_done(plan, 0, slices, {0: stamp, 1: stamp})


def test_a_stamp_knows_the_order_of_slices_and_the_end() -> None:
    plan, slices = plan_of(8, 4, 0), dict.fromkeys(range(8), 1)
    assert wanted_stamp(plan, 0, {**slices, 0: 5, 1: 6}) != wanted_stamp(plan, 0, {**slices, 0: 6, 1: 5})
    assert wanted_stamp(plan, 0, slices) != wanted_stamp(plan, 1, slices)
    assert wanted_stamp(plan_of(6, 4, 0), 1, slices) != wanted_stamp(plan, 1, slices)
    assert wanted_stamp(plan, 0, {**slices, 3: None}) is None
    assert wanted_stamp(plan, 1, dict.fromkeys(range(7), 1)) is None


@given(st.data(), st.integers(1, 9), st.integers(1, 4), st.integers(0, 2))
def test_whatever_comes_in_whatever_order_every_block_ends_up_to_date(
    data: st.DataObject, depth: int, block_z: int, context: int
) -> None:
    plan = plan_of(depth, min(block_z, depth), context)
    events = data.draw(st.permutations(range(depth)))
    events = [*events, *data.draw(st.lists(st.integers(0, depth - 1), max_size=4))]
    content: dict[int, int] = {}
    slices: dict[int, int | None] = {}
    stamps: dict[int, int] = {}
    done: list[int] = []
    for time, z in enumerate(events):
        content[z] = time
        slices[z] = None
        for _ in range(data.draw(st.integers(0, 30)) if time < len(events) - 1 else 1000):
            step = next_step(plan, range(plan.counts[0]), slices, stamps, set())
            if step is None:
                break
            if isinstance(step, Look):
                assert slices[step.z] is None
                slices[step.z] = content[step.z]
            else:
                assert all(slices[plane] == content[plane] for plane in step.planes)
                stamps[step.index] = step.stamp
                done.append(step.index)
    current: dict[int, int | None] = dict(content)
    for slab in range(plan.counts[0]):
        assert is_done(plan, slab, current, stamps)
    assert set(done) == set(range(len(plan)))
    if len(events) == depth:
        assert len(done) == len(plan)


@pytest.mark.parametrize("depth", [1, 2])
def test_the_smallest_volumes_have_a_plan(depth: int) -> None:
    plan = plan_of(depth, 4, 2)
    assert set(slab_planes(plan, 0)) == set(range(depth))
