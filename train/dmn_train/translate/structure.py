"""What must not change in the translation: what a segmentation network finds, and where outlines are."""

from torch import Tensor

from dmn_train.losses import soft_dice
from dmn_train.translate.sobel import relative_slopes

EDGES = 0.5


def structure_loss(
    logits: Tensor, truth: Tensor, valid: Tensor, translated: Tensor, source: Tensor, band: Tensor
) -> dict[str, Tensor]:
    """Return "structure" = 1 - Dice(S(xhat), y_s) + 0.5 "edges", and both terms.

    The Dice is CFDA-M's (BIBM 2022); "edges", ours, is the mean of |Sobel(xhat) - Sobel(x_s)| over the band
    around the outlines, each magnitude over its mean over the image: a change of contrast is free, a moved
    edge is not. Of context slices the middle one is compared, to which the labels belong.

    Args:
        logits: S(xhat), n1hw.
        truth: y_s, n1hw float32.
        valid: n1hw float32, 1 labelled, 0 else.
        translated: xhat, nchw float32.
        source: x_s, nchw float32.
        band: n1hw bool, around the outlines of y_s.
    """
    dice = soft_dice(logits.float(), truth, valid)
    moved = edge_change(_middle(translated), _middle(source), band)
    return {"structure": dice + EDGES * moved, "structure_dice": dice, "structure_edges": moved}


def edge_change(translated: Tensor, source: Tensor, band: Tensor) -> Tensor:
    """Return the mean of |Sobel(xhat) - Sobel(x_s)|, relative magnitudes, over the band; 0 for an empty one.

    Args:
        translated: n1hw float32.
        source: n1hw float32.
        band: n1hw bool.
    """
    change = (relative_slopes(translated) - relative_slopes(source)).abs()
    return (change * band).sum() / band.sum().clamp(min=1)


def _middle(image: Tensor) -> Tensor:
    middle = image.shape[1] // 2
    return image[:, middle : middle + 1]
