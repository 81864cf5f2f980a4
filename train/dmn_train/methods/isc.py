"""Inter-section consistency: what two sections say of a place is to fit to what differs between them.

Huang et al., Domain adaptive mitochondria segmentation via enforcing inter-section consistency (DA-ISC),
MICCAI 2022. Two sections x_i and x_j of the same place, equally far apart in nm in both domains (`pairs.py`),
go through the network; a head on both sections' last decoder features says where their masks differ: r, whose
label on the source is the XOR of both. On the target each section's label is made of the other's prediction:

p_i = s_j XOR r,  p_j = s_i XOR r  (all of them 0 or 1, without a gradient)
L = L_seg(s_i, s_j) + w_r L_seg(r) + r(t) w (CE(s_i, p_i) + CE(s_j, p_j)) / 2

It departs from the paper where the network is to leave training alone. Theirs takes both sections in and has
three decoders; ours is the network of all methods, which sees one section (and its context), and the head
sees |f_i - f_j| and f_i + f_j: it cannot tell the two apart, as XOR cannot. L_seg is the recipe's and a mean
over both sections; theirs is a sum, so that w_r = 1/2 and w = 0.1 are the paper's proportions. Source and
target are normalised each by itself, in a batch of both sections. Their two adversaries are left out; with
`align = "dann"` the discriminators of `dann.py` judge the features of all sections.
"""

from typing import final

import torch
from torch import Tensor, nn

from dmn_train.alarms import Watch
from dmn_train.data import Batch
from dmn_train.domains import DomainNetwork
from dmn_train.losses import bce, segmentation_loss
from dmn_train.methods.base import Method, others_of, target_of
from dmn_train.methods.dann import Dann
from dmn_train.networks.sizes import NetworkSpec
from dmn_train.networks.unet import Features
from dmn_train.pseudo_labels import ramp
from dmn_train.sections import DannSection, IscSection, LossSection


@final
class Isc(Method):
    """Supervised training on pairs of the source's sections, consistency of the target's."""

    def __init__(self, section: IscSection, loss: LossSection, spec: NetworkSpec) -> None:
        super().__init__()
        self._section = section
        self._loss = loss
        self.watch = Watch()
        self.head = ResidualHead(spec.base)
        options = section.dann or DannSection()
        self.dann = Dann(options, loss, spec) if section.align == "dann" else None

    def alarms(self, source_foreground_share: float) -> tuple[str, ...]:
        """Return a sentence on pseudo-labels that have collapsed."""
        return self.watch.alarms(source_foreground_share)

    def losses(self, network: DomainNetwork, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Return loss, the segmentation's terms over both sections, those of the discriminators, and more.

        These are residual and consistency (before weight and ramp), target_fg_share (of the pseudo-labels),
        contradicted_share (of the target's pixels whose label is not what the network says of them) and
        residual_share (of the target's pixels where the sections are said to differ).
        """
        section, other = self._section, others_of(batch)
        source, target = network.both_features(
            torch.cat([batch.image, other.image]), torch.cat([target_of(batch), other.target])
        )
        truth, valid = torch.cat([batch.truth, other.truth]), torch.cat([batch.valid, other.valid])
        terms = segmentation_loss(source.logits.float(), truth, valid, self._loss)
        residual = segmentation_loss(
            self._residual(source),
            exclusive_or(batch.truth, other.truth),
            batch.valid * other.valid,
            self._loss,
        )["segmentation"]
        consistency, told = self._consistency(target)
        loss = terms["segmentation"] + section.residual_weight * residual
        loss = loss + ramp(progress, section.ramp) * section.weight * consistency
        if self.dann is not None:
            domain, judged = self.dann.confusion(source, target, progress)
            loss, told = loss + domain, {**told, **judged}
        return {"loss": loss, **terms, "residual": residual, "consistency": consistency, **told}

    def _consistency(self, target: Features) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the cross-entropy on the target's pseudo-labels, and what is told of these."""
        logits = target.logits.float()
        with torch.no_grad():
            differs = self._residual(target)
            labels = pseudo_labels(logits, differs)
            share = labels.mean()
            told = {
                "target_fg_share": share,
                "contradicted_share": exclusive_or(labels, (logits > 0.0).float()).mean(),
                "residual_share": (differs > 0.0).float().mean(),
            }
            # Every label counts: there is no confidence that could be lost.
            self.watch.note(share, torch.ones_like(share))
        return bce(logits, labels, torch.ones_like(labels)), told

    def _residual(self, features: Features) -> Tensor:
        """Return the logits of r, n1hw, of features of 2n sections: all first ones, then all others."""
        logits: Tensor = self.head(*features.decoder[0].chunk(2)).float()
        return logits


def pseudo_labels(logits: Tensor, differs: Tensor) -> Tensor:
    """Return hard labels of both sections, each out of the other's prediction; nothing has a gradient.

    Args:
        logits: 2n1hw, all first sections, then all others.
        differs: n1hw, logits of "the sections differ here".

    Returns:
        float32 as `logits`, 0 or 1.
    """
    said_first, said_other = (logits.detach() > 0.0).float().chunk(2)
    changed = (differs.detach() > 0.0).float()
    return torch.cat([exclusive_or(said_other, changed), exclusive_or(said_first, changed)])


def exclusive_or(one: Tensor, two: Tensor) -> Tensor:
    """Return 1 where exactly one of two maps of 0 and 1 is 1, else 0; float32 as they are."""
    return (one != two).float()


class ResidualHead(nn.Module):
    """From two sections' features, nchw, to the logits of "their masks differ here", n1hw.

    It has no BatchNorm, for it sees both domains, and ends with the training.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(2 * channels, channels, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, 1, 1),
        )

    def forward(self, one: Tensor, two: Tensor) -> Tensor:
        """Return the logits; they are the same for both orders of the sections."""
        logits: Tensor = self.layers(torch.cat([(one - two).abs(), one + two], dim=1))
        return logits
