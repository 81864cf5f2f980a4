"""Distillation: a student of another size learns of the target what a finished, adapted run says of it.

L = L_soft(S(strong view), t) + w_a L_att(S(strong view), T(plain view)) + w_s L_seg(S(x_s), y_s),

t = mean over views v of v^-1(T(v(plain view))), up to all eight flips and quarter turns. Hinton et al.,
Distilling the knowledge in a neural network, 2015, at temperature 1; attention maps after Zagoruyko and
Komodakis, ICLR 2017 (`distil/attention.py`), which compare networks of any width without an adapter.

The student sees the target under all changes of intensity, the teacher as it is: the student learns the
teacher's answer and to give it whatever the image looks like. Some crops of the source with their own labels
keep it from the teacher's mistakes about what a mitochondrion is. Source and target are normalised each by
itself, as in every method here. At the run's end BatchNorm's statistics can be taken anew from plain crops
of the target (`student/recalibrate.py`): the running ones are of crops with changed intensities.
"""

from math import ceil
from typing import final

from torch import Tensor

from dmn_train.alarms import Watch
from dmn_train.data import Batch
from dmn_train.distil.attention import attention_loss
from dmn_train.domains import DomainNetwork
from dmn_train.losses import segmentation_loss
from dmn_train.methods.base import Method, target_of, views_of
from dmn_train.networks.unet import UNet
from dmn_train.pseudo_labels import DECISION
from dmn_train.sections import DistilSection, LossSection
from dmn_train.student.fixed_teacher import FixedTeacher
from dmn_train.student.soft_labels import mask_iou, soft_label_loss

HIGH, LOW = 0.9, 0.1  # from which on a pixel is one that the teacher is sure of


@final
class Distil(Method):
    """Training on a teacher's soft labels of the target, and on some crops of the source."""

    def __init__(self, section: DistilSection, loss: LossSection, teacher: UNet) -> None:
        super().__init__()
        self._section = section
        self._loss = loss
        self.teacher = FixedTeacher(teacher, section.views)
        self.watch = Watch()

    def alarms(self, source_foreground_share: float) -> tuple[str, ...]:
        """Return sentences on a teacher that finds nothing, or too much."""
        return self.watch.alarms(source_foreground_share)

    def losses(self, network: DomainNetwork, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Return loss, the terms on source and on target, and how far the two agree on this batch.

        `progress` plays no part.
        """
        del progress
        section, used = self._section, used_crops(len(batch.image), self._section.source_share)
        taught = self.teacher(views_of(batch).plain)
        source, target = network.both_features(batch.image[used], target_of(batch))
        of_source = segmentation_loss(source.logits.float(), batch.truth[used], batch.valid[used], self._loss)
        logits, labels = target.logits.float(), taught.probability
        terms = soft_label_loss(logits, labels, section)
        loss = terms["soft"] + section.source_weight * of_source["segmentation"]
        if section.attention > 0.0:
            terms["attention"] = attention_loss(taught.features, target, section.attention_levels)
            loss = loss + section.attention * terms["attention"]
        told = {
            "target_fg_share": (labels >= DECISION).float().mean(),
            "confident_share": ((labels >= HIGH) | (labels <= LOW)).float().mean(),
            "agreement": mask_iou(logits.detach().sigmoid(), labels),
        }
        self.watch.note(told["target_fg_share"], told["confident_share"])
        return {"loss": loss, **of_source, **terms, **told}


def used_crops(count: int, share: float) -> list[int]:
    """Return which of `count` source crops are used: `share` of them, rounded up, spread over the batch.

    The first crops of a batch lie around foreground, the others anywhere; a spread takes of both.
    """
    wanted = max(1, ceil(share * count))
    return [(2 * index + 1) * count // (2 * wanted) for index in range(wanted)]
