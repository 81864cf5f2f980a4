"""Which levels of features are aligned, and how strongly: shared by MMD, CORAL and DANN.

L = L_seg + sum_i lambda_i L_d(f_i^s, f_i^t), lambda_i rising with depth: Roels et al., Domain adaptive
segmentation in volume electron microscopy imaging, ISBI 2019, equation 1. The paper gives no lambda; its 2018
code aligns the bottleneck alone by default, here all encoder levels are, the deepest one most.

All methods here depart from that code in two more points: source and target have BatchNorm statistics of
their own, where the code lets them share (`domains.py`), and the segmentation loss is the recipe's, by
default cross-entropy and Dice, where the code has a soft Jaccard loss.
"""

from collections.abc import Iterator
from math import exp

from torch import Tensor

from dmn_train.networks.sizes import NetworkSpec
from dmn_train.networks.unet import Features
from dmn_train.sections import AlignSection

RAMP_STEEPNESS = 10.0


def level_weights(section: AlignSection, spec: NetworkSpec) -> tuple[float, ...]:
    """Return lambda of every encoder level, full resolution first, then of every decoder level.

    Encoder level i of 0 to `spec.levels` has weight * rise ** (i - levels) if it is among the deepest
    `encoder_levels`, else 0; decoder levels have `decoder_weight` alike.
    """
    count = spec.levels + 1
    first = count - min(count, section.encoder_levels or count)
    encoder = [
        section.weight * section.rise ** (i - spec.levels) if i >= first else 0.0 for i in range(count)
    ]
    return (*encoder, *[section.decoder_weight] * spec.levels)


def level_channels(spec: NetworkSpec) -> tuple[tuple[int, int], ...]:
    """Return (channels, depth) of every level in the order of `level_weights`."""
    encoder = [(spec.base << level, level) for level in range(spec.levels + 1)]
    return (*encoder, *encoder[: spec.levels])


def all_levels(features: Features) -> tuple[Tensor, ...]:
    """Return the features, nchw, in the order of `level_weights`."""
    return (*features.encoder, *features.decoder)


def aligned(
    weights: tuple[float, ...], source: Features, target: Features
) -> Iterator[tuple[float, Tensor, Tensor]]:
    """Yield lambda and both domains' features, nchw, of every level that is aligned."""
    for weight, one, two in zip(weights, all_levels(source), all_levels(target), strict=True):
        if weight > 0.0:
            yield weight, one, two


def ramp(section: AlignSection, progress: float) -> float:
    """Return the share of lambda at `progress`, 0 to 1: 2 / (1 + exp(-10 p)) - 1, or 1 without a ramp.

    Ganin et al., Domain-adversarial training of neural networks, JMLR 2016, section 5.2.2; Roels' code has
    none.
    """
    return 2.0 / (1.0 + exp(-RAMP_STEEPNESS * progress)) - 1.0 if section.ramp else 1.0
