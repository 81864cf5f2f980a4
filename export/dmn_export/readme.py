"""The README.md of a package: for people who open the archive, and for bioimage.io."""

from typing import Literal

from dmn_runtime.contract import Contract

_TEXT = """\
# {name}

{description}

A 2D network that gives the probability of *{classes}* for every pixel of an electron microscopy image.
It reads {in_channels} slice(s) at a time and was trained at a voxel size of {voxel} nm (z, y, x){working}.

## Use

    dmn infer PACKAGE.zip stack.tif -o segmentation.ome.zarr

or any program that runs bioimage.io models. Between the two there is one difference: DMN takes the
{low:g} % and {high:g} % grey values from a sample of the whole volume, so that tiles have no seams, while
bioimage.io has them taken from each image that is given.

- Height and width must be multiples of {stride} px; {halo} px around every tile depend on what is beyond.
- A pixel is foreground where the probability is at least {threshold:g}.
- The test tensors are {test_input}.

## Validation

The exported network was compared with the trained one on real tiles of the training data:

| precision | library | tiles | largest difference of probability | mean | change of IoU | threshold | speed |
|---|---|---|---|---|---|---|---|
{certificates}

That says that nothing was lost on the way, not how well the network segments *your* images. To measure that,
annotate a few slices of your own that the network has never seen and compare:

    dmn evaluate segmentation.ome.zarr your_mask.tif

## Where it came from

`dmn.json` in this archive records the recipe, seeds, data hashes and library versions.
"""

_TEST_INPUT = {
    "source": "one tile of the training data, stretched to 8 bits",
    "phantom": "a procedurally generated image: no voxel of the training data is in this archive",
}


def write_readme(contract: Contract, test_input: Literal["source", "phantom"]) -> str:
    """Return the README of a package in Markdown."""
    rows = (
        f"| {name} | {c.library} | {c.tiles} | {c.max_dp:.1e} | {c.mean_dp:.1e} | {c.iou_change:.1e} | "
        f"{c.threshold:.3g} | {'' if c.speedup is None else f'{c.speedup:.1f}'} |"
        for name, precision in contract.precisions.items()
        for c in precision.certificates
    )
    working = (
        f", resampled to {contract.working_voxel_nm:g} nm in the plane" if contract.working_voxel_nm else ""
    )
    return _TEXT.format(
        name=contract.name,
        description=contract.description,
        classes=", ".join(contract.classes),
        in_channels=contract.in_channels,
        voxel=" x ".join(f"{edge:g}" for edge in contract.voxel_nm),
        working=working,
        low=contract.normalisation.low_percent,
        high=contract.normalisation.high_percent,
        stride=contract.stride_px,
        halo=contract.halo_px,
        threshold=contract.threshold,
        test_input=_TEST_INPUT[test_input],
        certificates="\n".join(rows),
    )
