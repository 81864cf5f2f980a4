"""What can be said of a prediction without labels: how solid its objects are, how certain its pixels.

Slices are a zyx array or yx arrays of any shapes; nothing here takes a label of the target.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label, regionprops

from dmn_runtime.errors import RecipeError

EIGHT_CONNECTED = 2  # scikit-image's word for it: neighbours may differ in both axes
LEAST_OBJECT_PX = (
    50  # on the working grid; the pixels alone spread the solidity of smaller discs by 0.02 to 0.04
)


def mean_solidity(slices: Iterable[NDArray[np.bool_]], least_px: int) -> float | None:
    """Return the mean over all objects of area / area of the convex hull.

    Franco-Barranco et al., Computer Methods and Programs in Biomedicine 2022: mitochondria are nearly convex,
    so predictions whose solidity is that of the source's labels are likely right. An object is an 8-connected
    component of one slice; holes lower its area, not its hull. The hull is that of the pixels' edge
    midpoints, so a lone pixel and a straight row of pixels have solidity 1.

    Args:
        slices: foreground, yx each.
        least_px: smaller objects do not count; specks are solid whatever they are.

    Returns:
        A share above 0 and at most 1; None where no object is large enough.
    """
    found = [float(o.solidity) for one in slices for o in _objects(one) if o.area >= least_px]
    return float(np.mean(found)) if found else None


def _objects(one: NDArray[np.bool_]) -> list[Any]:
    components = label(one, connectivity=EIGHT_CONNECTED)  # type: ignore[no-untyped-call]
    found: list[Any] = regionprops(components)  # type: ignore[no-untyped-call]
    return found


def solidity_of_labels(slices: Iterable[NDArray[np.bool_]], least_px: int, name: str) -> float:
    """Return the mean solidity of the source's labels, which the rule "solidity" compares with.

    Args:
        slices: foreground of the source's labels, yx each, on the working grid.
        least_px: as for the predictions.
        name: what the message calls the source.

    Raises:
        RecipeError: the labels hold no object that is large enough.
    """
    solidity = mean_solidity(slices, least_px)
    if solidity is None:
        raise RecipeError(
            f'select.rule is "solidity", but the labels of {name} hold no object of {least_px} px or more to '
            "compare with: choose another rule"
        )
    return solidity


def mean_entropy(slices: Iterable[NDArray[np.float32]]) -> float:
    """Return the mean entropy of a pixel over the entropy of the mean pixel: mean h(p) / h(mean p).

    h(p) = -p log2 p - (1-p) log2 (1-p). The mean entropy alone is lowest where a network finds nothing, or
    foreground everywhere. Over h(mean p), the entropy of a pixel about which only the share of foreground is
    known, it is the part of the uncertainty that the image leaves: 1 - I(label; pixel) / H(label), the
    quantity of information maximisation (Krause et al., NIPS 2010). By Jensen's inequality it lies between
    0 (every pixel certain, both classes present) and 1 (all pixels alike: the network says nothing of where).
    It cannot see objects that are missed with certainty.

    Args:
        slices: probability of foreground, yx each.

    Returns:
        A share from 0 to 1, up to rounding; 1 where all probabilities are 0 or all are 1; NaN where one is.
    """
    pixels, foreground, bits = 0, 0.0, 0.0
    for one in slices:
        probability = one.astype(np.float64)
        pixels += probability.size
        foreground += float(probability.sum())
        bits += float(_entropy_bits(probability).sum())
    unknown = float(_entropy_bits(np.array(foreground / pixels)))
    return bits / pixels / unknown if unknown != 0.0 else 1.0


def _entropy_bits(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    bits: NDArray[np.float64] = -_times_log2(probability) - _times_log2(1.0 - probability)
    return bits


def _times_log2(share: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return x log2 x, which is 0 at 0."""
    product: NDArray[np.float64] = share * np.log2(np.where(share > 0.0, share, 1.0))
    return product
