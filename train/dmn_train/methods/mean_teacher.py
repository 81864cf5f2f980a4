"""Mean teacher: the network learns on the target from labels that its own moving average makes up.

Tarvainen and Valpola, Mean teachers are better role models, NeurIPS 2017, for domains as in Tranheden et al.,
DACS, WACV 2021, and Hoyer et al., MIC, CVPR 2023:

L = L_seg(source) + r(t) [w_s L_pl(S(strong view), y) + w_m L_pl(S(masked view), y')], y from T(plain view),

T being the teacher (`teacher.py`), r the ramp, y and L_pl those of `pseudo_labels.py`; y' is y but where the
masked view shows the source, whose labels then count. The strong view is the same crop with other
intensities, the masked view that one with parts hidden: T sees more than S does, and S learns to do without.

It departs from those papers in what follows from BatchNorm and from a rare foreground. Source and target are
normalised each by itself, and so is the masked view, which leaves the running statistics alone: they are for
images without holes. Which pixels count is decided for each class apart (CBST). Labels are soft unless
the recipe wants hard ones. With `align = "dann"` the discriminators of `dann.py` judge the source's features
and those of the strong view.
"""

from typing import final

from torch import Tensor

from dmn_train.alarms import Watch
from dmn_train.ceiling import ForegroundCeiling
from dmn_train.data import Batch
from dmn_train.domains import DomainNetwork
from dmn_train.losses import segmentation_loss
from dmn_train.methods.base import Method, target_of, views_of
from dmn_train.methods.dann import Dann
from dmn_train.networks.sizes import NetworkSpec
from dmn_train.networks.unet import Features
from dmn_train.pseudo_labels import PseudoLabels, make_pseudo_labels, pseudo_label_loss, ramp
from dmn_train.sections import DannSection, LossSection, MeanTeacherSection
from dmn_train.teacher import Teacher
from dmn_train.views import masked_view


@final
class MeanTeacher(Method):
    """Supervised training on the source, self-training on the target, and an alignment if it is asked for."""

    teacher: Teacher

    def __init__(
        self, section: MeanTeacherSection, loss: LossSection, spec: NetworkSpec, most: float | None
    ) -> None:
        """Set what is learned.

        Args:
            section: of the recipe.
            loss: on the source.
            spec: of the network.
            most: share of the target that its labels may call foreground; None is no bound.
        """
        super().__init__()
        self._section = section
        self._loss = loss
        self.watch = Watch()
        self.ceiling = None if most is None else ForegroundCeiling(most)
        options = section.dann or DannSection()
        self.dann = Dann(options, loss, spec) if section.align == "dann" else None

    def begin(self, network: DomainNetwork) -> None:
        """Start the teacher at the first weights."""
        self.teacher = Teacher(network, self._section.teacher)

    def after_step(self, network: DomainNetwork, done: int) -> None:
        """Let the teacher follow."""
        self.teacher.follow(network, done)

    def alarms(self, source_foreground_share: float) -> tuple[str, ...]:
        """Return sentences on pseudo-labels that have collapsed."""
        found = self.watch.alarms(source_foreground_share)
        return found + (() if self.ceiling is None else self.ceiling.alarms(source_foreground_share))

    def losses(self, network: DomainNetwork, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Return loss, the segmentation's terms and those of the discriminators, and of the self-training.

        These are strong and masked (before weight and ramp), target_fg_share and confident_share, and
        foreground_shift where the foreground has a ceiling.
        """
        section = self._section
        source, target = network.both_features(batch.image, target_of(batch))
        terms = segmentation_loss(source.logits.float(), batch.truth, batch.valid, self._loss)
        seen = self.teacher.predict(views_of(batch).plain).views
        seen = seen if self.ceiling is None else self.ceiling.corrected(seen)
        made = make_pseudo_labels(seen, section.labels)
        self.watch.note(made.foreground_share, made.confident_share)
        total, taught = view_losses(network, batch, target, made, section)
        loss = terms["segmentation"] + ramp(progress, section.ramp) * total
        told = {"target_fg_share": made.foreground_share, "confident_share": made.confident_share}
        if self.ceiling is not None:
            told["foreground_shift"] = made.trust.new_tensor(self.ceiling.shift())
        if self.dann is not None:
            domain, judged = self.dann.confusion(source, target, progress)
            loss, told = loss + domain, {**told, **judged}
        return {"loss": loss, **terms, **taught, **told}


def view_losses(
    network: DomainNetwork, batch: Batch, target: Features, made: PseudoLabels, section: MeanTeacherSection
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the weighted sum of the losses on both views, and each of them, "strong" and "masked".

    Args:
        network: the student.
        batch: with views.
        target: the student's features of the strong view.
        made: labels of the same crops.
        section: the weights; a masked view of weight 0 is not computed.
    """
    on_strong = made.trust * pseudo_label_loss(
        target.logits.float(), made.labels, made.weights, section.labels
    )
    taught = {"strong": on_strong}
    total = section.strong_weight * on_strong
    if section.masked_weight > 0.0:
        taught["masked"] = _on_masked_view(network, batch, made, section)
        total = total + section.masked_weight * taught["masked"]
    return total, taught


def _on_masked_view(
    network: DomainNetwork, batch: Batch, made: PseudoLabels, section: MeanTeacherSection
) -> Tensor:
    """Return the loss on the masked view; hidden pixels count, what they hold is to be inferred."""
    views = views_of(batch)
    with network.statistics_kept():
        features = network.target_features(masked_view(target_of(batch), batch.image, views))
    of_source = views.pasted
    labels = of_source * batch.truth + (1.0 - of_source) * made.labels
    weights = of_source * batch.valid + (1.0 - of_source) * made.weights
    return made.trust * pseudo_label_loss(features.logits.float(), labels, weights, section.labels)
