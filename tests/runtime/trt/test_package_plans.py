"""Plans of a package: the shapes they take, what they are called, and which one serves a computer."""

from collections.abc import Callable
from dataclasses import replace
from math import prod
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmn_runtime.contract import Contract, PackagedPlan
from dmn_runtime.errors import EngineError
from dmn_runtime.package import open_package
from dmn_runtime.trt.package_plans import described, job_for, packaged_plan, profile_for
from dmn_runtime.trt.profile import TileProfile, fixed_profile
from dmn_runtime.trt.targets import LINUX, WINDOWS, Targets, may_run

TARGETS = Targets(("SM86", "SM89"), WINDOWS)
PLAN = PackagedPlan(
    member="plans/a.plan",
    precision="fp16",
    library="tensorrt_rtx",
    library_version="1.7.1.116",
    targets=("SM86", "SM89"),
    platform=LINUX,
    least=(1, 1, 128, 128),
    best=(4, 1, 128, 128),
    most=(4, 1, 128, 128),
)


@pytest.fixture(scope="module")
def contract(small_package: Callable[..., Path]) -> Contract:
    """Return the contract of a network of 3 channels and stride 2."""
    return open_package(small_package(context=1)).contract


def test_a_profile_is_of_one_tile_size_or_of_all_up_to_it(contract: Contract) -> None:
    one, most = (1, 3, 76, 76), (8, 3, 76, 76)
    assert profile_for(contract, 76, 8, dynamic=False) == TileProfile(one, most, most)
    assert profile_for(contract, 76, 8, dynamic=True) == TileProfile((1, 3, 2, 2), most, most)


def test_an_edge_that_is_no_multiple_of_the_stride(contract: Contract) -> None:
    with pytest.raises(EngineError, match="multiple of the stride 2, not 75"):
        profile_for(contract, 75, 8, dynamic=True)


def test_two_calls_side_by_side() -> None:
    job = job_for("tensorrt_rtx", "fp16", fixed_profile(1, 64, 4), TARGETS)
    assert job.contexts == 2
    assert (job.library, job.precision, job.profile) == ("tensorrt_rtx", "fp16", fixed_profile(1, 64, 4))
    assert (job.compute_capabilities, job.platform) == (("SM86", "SM89"), WINDOWS)


def test_a_plan_is_described_by_its_job(contract: Contract) -> None:
    fixed = profile_for(contract, 76, 8, dynamic=False)
    plan = described(job_for("tensorrt_rtx", "int8-trt", fixed, TARGETS), "1.7.1.116")
    assert plan == PackagedPlan(
        member="plans/tensorrt_rtx-int8-trt-76x76-sm86-sm89-windows_x86_64.plan",
        precision="int8-trt",
        library="tensorrt_rtx",
        library_version="1.7.1.116",
        targets=("SM86", "SM89"),
        platform=WINDOWS,
        least=(1, 3, 76, 76),
        best=(8, 3, 76, 76),
        most=(8, 3, 76, 76),
    )


def test_plans_of_different_use_have_different_names(contract: Contract) -> None:
    names = {
        described(
            job_for(library, precision, profile_for(contract, edge, 8, dynamic=dynamic), targets), "1"
        ).member
        for library in ("tensorrt", "tensorrt_rtx")
        for precision in ("fp16", "fp32")
        for edge in (76, 78)
        for dynamic in (False, True)
        for targets in (TARGETS, Targets(("SM86",), WINDOWS), Targets(("SM86", "SM89"), LINUX))
        if not (dynamic and edge == 78)  # a plan for any tile is one plan
    }
    assert len(names) == 2 * 2 * 3 * 3


def find(*plans: PackagedPlan, **changes: object) -> PackagedPlan | None:
    wanted: dict[str, object] = {
        "library": "tensorrt_rtx",
        "library_version": "1.7.1.116",
        "precision": "fp16",
        "platform": LINUX,
        "compute_capability": "8.6",
        "edge_px": 128,
    }
    return packaged_plan(plans, **(wanted | changes))  # type: ignore[arg-type]


def test_a_plan_serves_the_computer_that_it_was_built_for() -> None:
    assert find(PLAN) is PLAN
    assert find(PLAN, compute_capability="8.9") is PLAN
    assert find(PLAN, edge_px=64) is PLAN
    assert find() is None


@pytest.mark.parametrize(
    "change",
    [
        {"library": "tensorrt"},
        {"library_version": "1.7.1.117"},
        {"precision": "fp32"},
        {"platform": WINDOWS},
        {"compute_capability": "12.0"},
        {"compute_capability": "8.0"},
        {"compute_capability": ""},
        {"edge_px": 130},
    ],
    ids=str,
)
def test_a_plan_serves_no_other(change: dict[str, object]) -> None:
    assert find(PLAN, **change) is None


def test_a_tile_must_fit_both_ways() -> None:
    assert find(replace(PLAN, most=(4, 1, 128, 256)), edge_px=200) is None
    assert find(replace(PLAN, most=(4, 1, 256, 128)), edge_px=200) is None


def test_the_smallest_that_serves_is_taken() -> None:
    large = replace(PLAN, member="plans/b.plan", most=(4, 1, 256, 256))
    assert find(large, PLAN) is PLAN
    assert find(large, PLAN, edge_px=200) is large


PLANS = st.builds(
    lambda library, version, precision, targets, platform, edge, batch: replace(
        PLAN,
        library=library,
        library_version=version,
        precision=precision,
        targets=tuple(targets),
        platform=platform,
        most=(batch, 1, edge, edge),
    ),
    st.sampled_from(["tensorrt", "tensorrt_rtx"]),
    st.sampled_from(["1", "2"]),
    st.sampled_from(["fp16", "fp32"]),
    st.lists(st.sampled_from(["SM75", "SM86", "SM89"]), min_size=1, unique=True),
    st.sampled_from([LINUX, WINDOWS]),
    st.sampled_from([64, 128]),
    st.sampled_from([1, 2]),
)


@given(
    st.lists(PLANS, max_size=8), PLANS, st.sampled_from(["7.5", "8.6", "12.0"]), st.sampled_from([64, 128])
)
def test_one_is_found_where_asking_each_finds_one(
    plans: list[PackagedPlan], here: PackagedPlan, capability: str, edge_px: int
) -> None:
    found = packaged_plan(
        plans, here.library, here.library_version, here.precision, here.platform, capability, edge_px
    )
    serving = []
    for plan in plans:
        same = all(
            getattr(plan, name) == getattr(here, name)
            for name in ("library", "library_version", "precision", "platform")
        )
        if same and may_run(plan.library, plan.targets, capability) and plan.most[2] >= edge_px:
            serving.append(plan)
    if found is None:
        assert serving == []
    else:
        assert found in serving
        assert prod(found.most) == min(prod(plan.most) for plan in serving)
