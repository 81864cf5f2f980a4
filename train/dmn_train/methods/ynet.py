"""Y-Net: a second decoder reconstructs source and target from the encoder, which thus learns of both.

L = L_seg + lambda_s L_rec(xhat_s, x_s) + lambda_t L_rec(xhat_t, x_t), L_rec the mean squared error: Roels et
al., Domain adaptive segmentation in volume electron microscopy imaging, ISBI 2019, equation 2. The second
decoder has no skips, so that all it knows has passed through the bottleneck, and ends with the training.

It departs from the 2018 code of Roels et al. in the weights (1 here; 0.001 there, 0.1 in their later study)
and in that the decoder resizes and convolves, as the network's own does.
The departures that all methods share stand in `levels.py`.
"""

from typing import final

from torch import Tensor, nn
from torch.nn import functional

from dmn_train.data import Batch
from dmn_train.domains import DomainNetwork
from dmn_train.losses import segmentation_loss
from dmn_train.methods.base import Method, target_of
from dmn_train.networks.sizes import NetworkSpec
from dmn_train.sections import LossSection, YnetSection


@final
class Ynet(Method):
    """Supervised training with reconstruction of both domains."""

    def __init__(self, section: YnetSection, loss: LossSection, spec: NetworkSpec) -> None:
        super().__init__()
        self._section = section
        self._loss = loss
        self.decoder = ReconstructionDecoder(spec)

    def losses(self, network: DomainNetwork, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Return loss, the segmentation's terms and the reconstructions'; `progress` plays no part."""
        del progress
        image, other = batch.image, target_of(batch)
        source, target = network.both_features(image, other)
        terms = segmentation_loss(source.logits.float(), batch.truth, batch.valid, self._loss)
        source_error = self._error(source.encoder[-1], image)
        target_error = self._error(target.encoder[-1], other)
        loss = (
            terms["segmentation"]
            + self._section.source_weight * source_error
            + self._section.target_weight * target_error
        )
        return {
            "loss": loss,
            **terms,
            "source_reconstruction": source_error,
            "target_reconstruction": target_error,
        }

    def _error(self, bottleneck: Tensor, image: Tensor) -> Tensor:
        return functional.mse_loss(self.decoder(bottleneck).float(), image)


class ReconstructionDecoder(nn.Module):
    """From the bottleneck's features, nchw, to the image, nchw; nothing else goes in, so there is no skip."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        widths = [spec.base << level for level in range(spec.levels + 1)]
        self.blocks = nn.ModuleList(
            _block(widths[level + 1], widths[level]) for level in reversed(range(spec.levels))
        )
        self.head = nn.Conv2d(spec.base, spec.in_channels, 1)

    def forward(self, bottleneck: Tensor) -> Tensor:
        """Return the image that the bottleneck tells of."""
        feature = bottleneck
        for block in self.blocks:
            feature = block(functional.interpolate(feature, scale_factor=2.0, mode="nearest"))
        image: Tensor = self.head(feature)
        return image


def _block(before: int, after: int) -> nn.Sequential:
    """Build two convolutions without BatchNorm: the decoder sees both domains, whose statistics differ."""
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(after, after, 3, padding=1),
        nn.ReLU(inplace=True),
    )
