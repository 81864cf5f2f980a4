"""MONAI's SlidingWindowInferer, slice by slice: logits blended, then the sigmoid, as its bundles do."""

from functools import partial
from typing import Any

import numpy as np
import torch
from monai.inferers import SlidingWindowInferer
from numpy.typing import NDArray
from protocol import Job, Maker, Ready, Segmented, main, table_of
from torch_student import Counter, forward_of, load_student, to_input


def prepare(job: Job) -> Maker:
    """Load nothing that settings do not decide."""
    return partial(make, job)


def make(job: Job, settings: dict[str, Any]) -> Ready:
    """Return the contestant: `roi_px`, `sw_batch`, `overlap`, `mode`, and what `forward_of` takes."""
    network = load_student(job)
    counter, forward = Counter(network), forward_of(network, settings, job["device"])
    table, edge = table_of(job), settings["roi_px"]
    inferer = SlidingWindowInferer(
        roi_size=(edge, edge),
        sw_batch_size=settings["sw_batch"],
        overlap=settings["overlap"],
        mode=settings["mode"],
    )

    def segment(volume: NDArray[np.uint8]) -> Segmented:
        probability = np.empty(volume.shape, np.float32)
        with torch.inference_mode():
            for z in range(len(volume)):
                logits = inferer(to_input(volume[z : z + 1], table, job["device"]), forward)
                probability[z] = torch.sigmoid(logits)[0, 0].cpu().numpy()
        return Segmented(probability)

    return Ready(segment, counter.read)


if __name__ == "__main__":
    main(prepare)
