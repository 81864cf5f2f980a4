"""Plain PyTorch: whole slices through the network, no tiles and nothing to stitch.

`border_px` reflects that many pixels around each slice, as DMN's tiles see them at the volume's edge: the
untiled truth that all contestants are held against. 0 leaves the edge to the convolutions' zeros.
"""

from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from protocol import Job, Maker, Ready, Segmented, main, table_of
from torch_student import Counter, forward_of, load_student, to_input


def prepare(job: Job) -> Maker:
    """Load the student."""
    return partial(make, job)


def make(job: Job, settings: dict[str, Any]) -> Ready:
    """Return the contestant: `border_px`, `batch` slices at once, and what `forward_of` takes."""
    network = load_student(job)
    counter, forward = Counter(network), forward_of(network, settings, job["device"])
    table, stride = table_of(job), 1 << job["spec"]["levels"]
    border, batch = settings.get("border_px", 0), settings.get("batch", 1)
    done: list[int] = []

    def segment(volume: NDArray[np.uint8]) -> Segmented:
        _, height, width = volume.shape
        more = [(0, 0), *((border, border + -size % stride) for size in (height, width))]
        probability = np.empty(volume.shape, np.float32)
        inner = np.s_[:, 0, border : border + height, border : border + width]
        with torch.inference_mode():
            for z in range(0, len(volume), batch):
                tile = to_input(np.pad(volume[z : z + batch], more, "reflect"), table, job["device"])
                probability[z : z + batch] = torch.sigmoid(forward(tile))[inner].cpu().numpy()
        done.append(len(volume))
        return Segmented(probability)

    return Ready(segment, lambda: counter.read() // sum(done), batch)


if __name__ == "__main__":
    main(prepare)
