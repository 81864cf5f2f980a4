"""torch-em's predict_with_halo, slice by slice.

A patch of `patch_px` is a block with a halo of 32 px around it, which is how torch-em cuts its own patches
for 2D (torch_em.util.validation).
"""

from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from protocol import Job, Maker, Ready, Segmented, main, table_of
from torch import Tensor, nn
from torch_student import Counter, forward_of, load_student


def import_prediction() -> Any:
    """Import torch_em.util.prediction, also where torchvision was built for another torch."""
    if torch.version.cuda is None:
        # torch-em imports torchvision, whose wheels are built for CUDA's torch: beside the CPU's, their
        # compiled operators are missing, and the import stops at these two. The prediction uses none.
        for name in ("nms", "qnms"):
            torch.library.define(
                f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            )
    from torch_em.util import prediction

    return prediction


def prepare(job: Job) -> Maker:
    """Import torch-em."""
    return partial(make, job, import_prediction().predict_with_halo)


def make(job: Job, predict_with_halo: Any, settings: dict[str, Any]) -> Ready:
    """Return the contestant: `patch_px`, `halo_px`, and what `forward_of` takes."""
    network = load_student(job)
    counter, forward = Counter(network), forward_of(network, settings, job["device"])
    table, halo = table_of(job), settings["halo_px"]
    block = settings["patch_px"] - 2 * halo

    def probability_of(_: nn.Module, patch: Tensor) -> Tensor:
        return torch.sigmoid(forward(patch))

    def segment(volume: NDArray[np.uint8]) -> Segmented:
        probability = np.empty(volume.shape, np.float32)
        for z, grey in enumerate(volume):
            predict_with_halo(
                table[grey],
                network,
                gpu_ids=[job["device"]],
                block_shape=(block, block),
                halo=(halo, halo),
                output=probability[z : z + 1],
                preprocess=None,
                disable_tqdm=True,
                prediction_function=probability_of,
            )
        return Segmented(probability)

    return Ready(segment, counter.read)


if __name__ == "__main__":
    main(prepare)
