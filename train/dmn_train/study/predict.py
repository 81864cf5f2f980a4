"""A run's probabilities on a test volume, as `dmn export` and `dmn infer` would write them.

The same map of intensities, working grid, reflected border, rounding to 8 bits and way back to the volume's
own grid; only the network runs in torch. A test holds the two to each other.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from dmn_runtime.geometry import Region, round_down, round_up, whole
from dmn_runtime.normalise import fit_map
from dmn_runtime.resample import inverse, to_working
from dmn_runtime.tiles import scatter
from dmn_train.data import cut_window
from dmn_train.networks.unet import UNet
from dmn_train.run import Run
from dmn_train.study.test_volume import TestVolume

MARGIN_STRIDES = 8  # a U-Net of n poolings sees less than 8 * 2**n pixels in every direction


@torch.inference_mode()
def predict(
    run: Run, network: UNet, test: TestVolume, slices: list[int]
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield slices on the volume's own grid: z and probability, uint8 yx, 255 = certain, 0 where untested.

    The network is moved to a CUDA device where there is one.
    """
    image, spec = test.image, network.spec
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    table = fit_map(image.counts(), run.normalisation, image.name).table(image.voxels.dtype)
    grid = to_working(image.shape, image.voxel_nm, run.working_voxel_nm)
    grey = grid.apply(image.voxels, whole(grid.shape_in), whole(grid.shape_out))
    back, margin = inverse(grid), MARGIN_STRIDES * spec.stride_px
    first, stop = test.section.columns or (0, image.shape[2])
    counted = Region((0, 0, first), (1, image.shape[1], stop))
    needed = back.source_of(counted)
    height, left = grid.shape_out[1], round_down(needed.start[2], spec.stride_px)
    width = needed.stop[2] - left
    tall, wide = (round_up(edge + 2 * margin, spec.stride_px) for edge in (height, width))
    # The window starts a margin before what counts, on a multiple of the stride as the runtime's tiles do.
    corner = (tall // 2 - margin, left + wide // 2 - margin)
    for z in slices:
        window = cut_window(grey, (z, *corner), spec.context_slices, tall, wide)
        crop = torch.from_numpy(table[window])[None].to(device, memory_format=torch.channels_last)
        logits = network(crop).float().cpu().numpy()
        probability = scatter(logits, margin)[:, :height, :width]
        found = np.zeros(image.shape[1:], np.uint8)
        found[:, first:stop] = back.apply(
            probability,
            Region((z, 0, left), (z + 1, height, left + width)),
            Region((z, 0, first), (z + 1, image.shape[1], stop)),
        )[0]
        yield z, found
