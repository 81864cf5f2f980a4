"""MMD: the maximum mean discrepancy between source and target features becomes small.

Gretton et al., A kernel two-sample test, JMLR 2012; several kernels as in Long et al., Learning transferable
features with deep adaptation networks, ICML 2015; as a loss on encoder levels Roels et al., ISBI 2019.

It departs from the 2018 code of Roels et al., whose samples are whole H x W planes, one a batch, compared
with one kernel of width 9 (10 ^ 3 is an exclusive or in Python): at that width the kernel is flat and the
gradient gone. Here a sample is the feature vector of a pixel, and the widths are multiples of the median
distance, so that the loss does not depend on the scale of the features.
The departures that all methods share stand in `levels.py`.
"""

from typing import final

import torch
from torch import Tensor

from dmn_train.data import Batch
from dmn_train.domains import DomainNetwork
from dmn_train.losses import segmentation_loss
from dmn_train.methods.base import Method, target_of
from dmn_train.methods.levels import aligned, level_weights, ramp
from dmn_train.networks.sizes import NetworkSpec
from dmn_train.sections import LossSection, MmdSection

GOLDEN = 0.6180339887498949
MEDIAN_FROM = 64  # from so many pooled samples, the median is taken over every MEDIAN_STEP-th alone
MEDIAN_STEP = 4


@final
class Mmd(Method):
    """Supervised training with small MMD at every aligned level."""

    def __init__(self, section: MmdSection, loss: LossSection, spec: NetworkSpec) -> None:
        super().__init__()
        self._section = section
        self._loss = loss
        self._weights = level_weights(section, spec)

    def losses(self, network: DomainNetwork, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Return loss, the segmentation's terms and mmd, the weighted sum over levels before the ramp."""
        source, target = network.both_features(batch.image, target_of(batch))
        terms = segmentation_loss(source.logits.float(), batch.truth, batch.valid, self._loss)
        distance = terms["segmentation"].new_zeros(())
        for weight, one, two in aligned(self._weights, source, target):
            count, widths = self._section.pixels, self._section.widths
            distance = distance + weight * mmd(pixel_samples(one, count), pixel_samples(two, count), widths)
        return {
            "loss": terms["segmentation"] + ramp(self._section, progress) * distance,
            **terms,
            "mmd": distance,
        }


def pixel_samples(feature: Tensor, count: int) -> Tensor:
    """Return the feature vectors, (n, c) float32, of at most `count` pixels of a batch, nchw.

    The pixels follow the golden ratio through the batch: spread evenly, off every lattice, and the same at
    every call, so that a resumed run needs no generator's state. The crops themselves are drawn at random.
    """
    n, c, h, w = feature.shape
    total = n * h * w
    flat = feature.permute(0, 2, 3, 1).reshape(total, c).float()
    if total <= count:
        return flat
    place = (torch.arange(count, dtype=torch.float64) * GOLDEN) % 1.0
    return flat[(place * total).long().to(feature.device)]


def mmd(source: Tensor, target: Tensor, widths: tuple[float, ...]) -> Tensor:
    """Return the squared MMD of two samples, (n, c) and (m, c) float32, mean over the kernels.

    The biased estimate, mean k(s, s') - 2 mean k(s, t) + mean k(t, t'), k(a, b) = exp(-|a - b|^2 / 2
    sigma^2): never below 0, and 0 for equal samples. sigma is each of `widths` times the median distance
    between the pooled samples, which is a constant to the gradient.
    """
    n = len(source)
    pooled = torch.cat([source, target])
    squares = pooled.square().sum(dim=1)
    with torch.autocast(pooled.device.type, enabled=False):  # in half precision the difference is noise
        squared = (squares[:, None] + squares[None, :] - 2.0 * pooled @ pooled.T).clamp(min=0.0)
    with torch.no_grad():
        # A 16th of many pairs gives the median at a fraction of the price of sorting them all.
        step = MEDIAN_STEP if len(pooled) >= MEDIAN_FROM else 1
        median = squared[::step, ::step].flatten().median().clamp(min=1e-12)
    total = source.new_zeros(())
    for width in widths:
        kernel = (squared * (-0.5 / (width * width) / median)).exp()
        total = total + kernel[:n, :n].mean() + kernel[n:, n:].mean() - 2.0 * kernel[:n, n:].mean()
    return total / len(widths)
