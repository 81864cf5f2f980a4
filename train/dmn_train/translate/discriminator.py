"""The patch discriminator and the least-squares adversarial losses.

PatchGAN: Isola et al., Image-to-image translation with conditional adversarial networks, CVPR 2017. Least
squares: Mao et al., Least squares generative adversarial networks, ICCV 2017, with the labels 1 (target) and
0 (translated).

There is no norm. Statistics over a batch of both domains would tell each image about the others; instance
norm, which CUT has here, takes mean and contrast away from every feature, and how bright and how steep the
target is, is a good part of what the translation is to learn.
"""

from typing import final

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from dmn_train.translate.options import DiscriminatorSpec

SLOPE = 0.2
WIDEST = 8  # no layer has more than this many times the base channels


@final
class Discriminator(nn.Module):
    """From nchw images to n1hw verdicts on patches: about 1 for the target's, about 0 for translated ones."""

    def __init__(self, spec: DiscriminatorSpec) -> None:
        super().__init__()
        widths = [spec.base * min(WIDEST, 1 << layer) for layer in range(spec.halvings + 1)]
        layers: list[nn.Module] = []
        for layer, (before, after) in enumerate(zip([spec.channels, *widths], widths, strict=False)):
            stride = 2 if layer < spec.halvings else 1
            layers += [_maybe_spectral(nn.Conv2d(before, after, 4, stride, padding=1), spec)]
            layers += [nn.LeakyReLU(SLOPE)]
        layers.append(_maybe_spectral(nn.Conv2d(widths[-1], 1, 4, padding=1), spec))
        self.layers = nn.Sequential(*layers)

    def forward(self, image: Tensor) -> Tensor:
        """Return the verdicts on `image`, n1hw float32."""
        verdict: Tensor = self.layers(image)
        return verdict.float()


def _maybe_spectral(convolution: nn.Conv2d, spec: DiscriminatorSpec) -> nn.Module:
    return spectral_norm(convolution) if spec.spectral else convolution


def discriminator_loss(on_target: Tensor, on_translated: Tensor) -> Tensor:
    """Return the mean of (D(x_t) - 1)^2 and D(xhat)^2, each averaged over its verdicts: a scalar.

    A discriminator that cannot tell says 1/2 of everything and has 0.25.
    """
    return 0.5 * ((on_target - 1.0).square().mean() + on_translated.square().mean())


def adversarial_loss(on_translated: Tensor) -> Tensor:
    """Return the mean of (D(xhat) - 1)^2, what the generator wants small: a scalar."""
    return (on_translated - 1.0).square().mean()
