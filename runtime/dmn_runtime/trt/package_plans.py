"""Plans for a package: which are to be built, and which of those in a package serve a computer. Pure."""

from collections.abc import Sequence
from math import prod

from dmn_runtime.contract import Contract, PackagedPlan
from dmn_runtime.trt.build_job import BuildJob
from dmn_runtime.trt.profile import TileProfile, dynamic_profile, fixed_profile
from dmn_runtime.trt.targets import Targets, may_run

CONTEXTS = 2
"""Calls side by side: one computes while the other's tiles are copied; more gain nothing on one GPU."""


def profile_for(contract: Contract, edge_px: int, batch: int, *, dynamic: bool) -> TileProfile:
    """Return the shapes that a package's plan takes.

    Args:
        contract: of the package.
        edge_px: height and width of the largest tile, halo included.
        batch: most slices in one call.
        dynamic: any tile up to that size instead of one size, to which smaller tiles are padded.
    """
    if dynamic:
        return dynamic_profile(contract.in_channels, contract.stride_px, edge_px, edge_px, batch)
    return fixed_profile(contract.in_channels, edge_px, batch)


def job_for(library: str, precision: str, profile: TileProfile, targets: Targets) -> BuildJob:
    """Return the build of one plan."""
    return BuildJob(
        library,
        precision,
        profile,
        targets.compute_capabilities,
        targets.platform,
        contexts=CONTEXTS,
    )


def described(job: BuildJob, library_version: str) -> PackagedPlan:
    """Return how dmn.json describes the plan of a job; targets must be named."""
    profile = job.profile
    shape = "dynamic" if profile.least != (1, *profile.most[1:]) else "x".join(map(str, profile.most[2:]))
    name = "-".join([job.library, job.precision, shape, *job.compute_capabilities, job.platform])
    return PackagedPlan(
        member=f"plans/{name.lower()}.plan",
        precision=job.precision,
        library=job.library,
        library_version=library_version,
        targets=job.compute_capabilities,
        platform=job.platform,
        least=profile.least,
        best=profile.best,
        most=profile.most,
    )


def packaged_plan(
    plans: Sequence[PackagedPlan],
    library: str,
    library_version: str,
    precision: str,
    platform: str,
    compute_capability: str,
    edge_px: int,
) -> PackagedPlan | None:
    """Return the plan of a package that runs here and takes the tiles, the smallest such; None without one.

    Args:
        plans: of the package.
        library: "tensorrt" or "tensorrt_rtx".
        library_version: installed here; plans run on no other.
        precision: that is wanted.
        platform: of this computer.
        compute_capability: of the GPU, as "8.6".
        edge_px: height and width of the largest tile, halo included.
    """
    serving = [
        plan
        for plan in plans
        if (plan.library, plan.library_version) == (library, library_version)
        and (plan.precision, plan.platform) == (precision, platform)
        and may_run(library, plan.targets, compute_capability)
        and min(plan.most[2:]) >= edge_px
    ]
    return min(serving, key=lambda plan: prod(plan.most), default=None)
