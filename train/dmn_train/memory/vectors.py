"""Maps of vectors as rows, and which of them a bank learns from."""

import torch
from torch import Tensor

from dmn_train.memory.structure import NO_CLASS

MOST_OF_CLASS = 256
GOLDEN = 0.6180339887498949


def as_rows(vectors: Tensor) -> Tensor:
    """Return (n h w, d) of a map, ndhw."""
    return vectors.movedim(1, -1).flatten(0, -2)


def balanced(classes: Tensor, count: int, most: int = MOST_OF_CLASS) -> Tensor:
    """Keep at most `most` places of each class in each image; the others have no class.

    Far background is nine tenths of an image, and as much of a mean. Places follow the golden ratio through
    the image: spread evenly and the same at every call, so that a resumed run needs no generator's state. The
    crops themselves are drawn at random.

    Args:
        classes: n1hw int64, NO_CLASS to count - 1.
        count: of classes.
        most: places of a class and image.

    Returns:
        n1hw int64, `classes` or NO_CLASS.
    """
    flat = classes.flatten(1)
    place = (torch.arange(flat.shape[1], dtype=torch.float64) * GOLDEN) % 1.0
    order = place.argsort().to(flat.device)
    ordered = flat[:, order]
    kept = torch.full_like(flat, NO_CLASS)
    for number in range(count):
        found = ordered == number
        chosen = found & (found.cumsum(dim=1) <= most)
        kept[:, order] = torch.where(chosen, number, kept[:, order])
    return kept.view_as(classes)
