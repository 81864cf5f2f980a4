"""DiSMemNet, our reading: self-training with a translated source, a memory that refines labels, distillation.

Inspired by the README of DiSMemNet, which is all of it that is public: gated contrastive translation, a
memory of structure-aware prototypes, multi-scale distillation, one joint objective. No figure here reproduces
theirs.

L = L_seg(x_s) + w_x L_seg(xhat) + r(t) [w_s L_pl(strong) + w_m L_pl(masked) + w_d L_kd + w_c L_con]
    + L_G + L_D

L_seg(x_s), r, both L_pl and the teacher are those of `mean_teacher.py`, which is what is left when every part
is switched off. xhat is x_s in the target's style (`translate`), normalised as target images are and leaving
the running statistics alone. The labels of L_pl and L_kd are the teacher's, refined by the memory (`memory`).
L_kd matches outputs, attention maps and side outputs on the strong view (`distil`); L_con draws the vectors
of labelled and of surely labelled places to their prototypes. L_G + L_D are of the translation alone.

Which of these count when is said by `dismemnet_parts/stages.py`. What is ours and why: docs/dismemnet.md.
"""

from typing import NamedTuple, final

import torch
from torch import Tensor

from dmn_train.alarms import Watch
from dmn_train.ceiling import ForegroundCeiling
from dmn_train.data import Batch
from dmn_train.distil.terms import Distillation
from dmn_train.domains import DomainNetwork
from dmn_train.losses import segmentation_loss
from dmn_train.methods.base import Method, OwnRate, plain_of, target_of, views_of
from dmn_train.methods.dann import Dann
from dmn_train.methods.dismemnet_parts.facts import MEMORY_STREAM, TRANSLATION_STREAM, RunFacts
from dmn_train.methods.dismemnet_parts.prototype_memory import PrototypeMemory, Rows, refined_labels, together
from dmn_train.methods.dismemnet_parts.source_translation import SourceTranslation
from dmn_train.methods.dismemnet_parts.specs import distil_spec
from dmn_train.methods.dismemnet_parts.stages import Moment, generator_learns, moment_at
from dmn_train.methods.mean_teacher import view_losses
from dmn_train.networks.sizes import NetworkSpec
from dmn_train.networks.unet import Features
from dmn_train.pseudo_labels import PseudoLabels, make_pseudo_labels, ramp
from dmn_train.sections import DannSection, DismemnetSection, LossSection
from dmn_train.teacher import Predicted, Teacher
from dmn_train.translate.objective import Pair


class Step(NamedTuple):
    """What the network made of a batch.

    Attributes:
        network: the network.
        batch: the batch.
        now: when.
        source: features of the source's crops.
        target: of the target's strong view.
        translated: of the translated source; None without.
    """

    network: DomainNetwork
    batch: Batch
    now: Moment
    source: Features
    target: Features
    translated: Features | None


@final
class Dismemnet(Method):
    """Mean teacher with up to four parts beside it, each None where the recipe switches it off."""

    teacher: Teacher

    def __init__(
        self,
        section: DismemnetSection,
        loss: LossSection,
        spec: NetworkSpec,
        facts: RunFacts,
        most: float | None,
    ) -> None:
        """Set what is learned.

        Args:
            section: of the recipe.
            loss: on the source.
            spec: of the network.
            facts: of the run.
            most: share of the target that its labels may call foreground; None is no bound.
        """
        super().__init__()
        self._section = section
        self._loss = loss
        self._facts = facts
        self.watch = Watch()
        self.ceiling = None if most is None else ForegroundCeiling(most)
        # First of all, so that the discriminators' first weights are those of method mean_teacher.
        self.dann = Dann(section.dann or DannSection(), loss, spec) if section.align == "dann" else None
        gated, remembers = section.translation.kind == "gated", section.memory.kind != "none"
        self.translation = SourceTranslation(section.translation, spec, facts) if gated else None
        self.memory = PrototypeMemory(section.memory, spec) if remembers else None
        distils = section.distillation.weight > 0.0
        self.distillation = Distillation(distil_spec(section.distillation), spec) if distils else None

    def begin(self, network: DomainNetwork) -> None:
        """Start the teacher at the first weights, and the translation's judge."""
        self.teacher = Teacher(network, self._section.teacher)
        if self.translation is not None:
            self.translation.begin(network)

    def rates(self) -> tuple[OwnRate, ...]:
        """Return the translator's."""
        return () if self.translation is None else self.translation.rates()

    def after_step(self, network: DomainNetwork, done: int) -> None:
        """Let the teacher follow the network, and other averages what they are of."""
        self.teacher.follow(network, done)
        if self.translation is not None and self._generator_learns(done / self._facts.steps):
            self.translation.follow(done)
        if self.memory is not None:
            self.memory.follow(done, self._section.teacher.decay)

    def alarms(self, source_foreground_share: float) -> tuple[str, ...]:
        """Return sentences on labels, translation or memory that have collapsed."""
        found = self.watch.alarms(source_foreground_share)
        found += () if self.ceiling is None else self.ceiling.alarms(source_foreground_share)
        found += () if self.translation is None else self.translation.alarms()
        return found + (() if self.memory is None else self.memory.alarms())

    def losses(self, network: DomainNetwork, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Return loss, and by name what mean_teacher tells and what every part at work adds to it.

        These are translated (L_seg(xhat)), distil with its terms, contrast, memory_agreement (share of pixels
        where memory and teacher see the same class), memory_cosine, translation with its terms, objects_kept,
        foreground_shift.
        """
        section, now = self._section, moment_at(progress, self._section)
        predicted = self._predicted(batch)
        learned = self._translation_terms(network, batch, predicted, now)
        if now.stage == "translation" and section.stages.student_waits:
            return {"loss": learned["translation"], **learned}
        source, target = network.both_features(batch.image, target_of(batch))
        step = Step(network, batch, now, source, target, self._of_translated(network, batch, now))
        terms = segmentation_loss(source.logits.float(), batch.truth, batch.valid, self._loss)
        total, told = self._on_target(step, predicted)
        if self.ceiling is not None:
            told["foreground_shift"] = total.new_tensor(self.ceiling.shift())
        loss = terms["segmentation"] + ramp(now.share, section.ramp) * total
        if step.translated is not None:
            told["translated"] = self._on_translated(step.translated, batch)
            loss = loss + section.translation.weight * told["translated"]
        if "translation" in learned:
            loss = loss + learned["translation"]
        if self.dann is not None:
            domain, judged = self.dann.confusion(source, target, now.share)
            loss, told = loss + domain, {**told, **judged}
        return {"loss": loss, **terms, **told, **learned}

    def _predicted(self, batch: Batch) -> Predicted:
        """Return what the teacher says of the plain crops, within the ceiling if there is one."""
        predicted = self.teacher.predict(views_of(batch).plain)
        if self.ceiling is None:
            return predicted
        return predicted._replace(views=self.ceiling.corrected(predicted.views))

    def _on_target(self, step: Step, predicted: Predicted) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted sum of all that comes under the ramp, and what is told of it."""
        section = self._section
        labelled = self._labelled_rows(step)
        made, told = self._labels(predicted, step.now)
        self.watch.note(made.foreground_share, made.confident_share)
        told |= {"target_fg_share": made.foreground_share, "confident_share": made.confident_share}
        total, taught = view_losses(step.network, step.batch, step.target, made, section)
        if self.distillation is not None and step.now.stage == "joint":
            matched = self.distillation(step.target, made.labels, made.weights, predicted.features)
            taught |= matched
            total = total + section.distillation.weight * made.trust * matched["distil"]
        if self.memory is not None and labelled is not None:
            rows = self._all_rows(self.memory, labelled, made, step)
            taught["contrast"] = self.memory.contrast(rows)
            total = total + section.memory.contrast * taught["contrast"]
            self.memory.after(rows, self._random(step.now, MEMORY_STREAM))
            told |= self.memory.told()
        return total, {**taught, **told}

    def _labels(self, predicted: Predicted, now: Moment) -> tuple[PseudoLabels, dict[str, Tensor]]:
        """Return the teacher's labels, in the joint stage refined by the memory, and what that tells."""
        section = self._section
        if self.memory is None or now.stage != "joint" or section.memory.refine == "none":
            return make_pseudo_labels(predicted.views, section.labels), {}
        logit = self.memory.ask(predicted.features)
        made, agreement = refined_labels(predicted.views, logit, section.memory, section.labels, now.share)
        return made, {"memory_agreement": agreement}

    def _labelled_rows(self, step: Step) -> Rows | None:
        """Return the memory's rows of true labels, which a memory of each batch's own takes in at once."""
        if self.memory is None or step.now.stage == "translation":
            return None
        truth, valid = step.batch.truth, step.batch.valid
        parts = [self.memory.rows(step.source, truth, valid)]
        if step.translated is not None:
            parts.append(self.memory.rows(step.translated, truth, valid))
        rows = together(parts)
        self.memory.before(rows, self._random(step.now, MEMORY_STREAM))
        return rows

    def _all_rows(self, memory: PrototypeMemory, labelled: Rows, made: PseudoLabels, step: Step) -> Rows:
        """Return the rows of true labels and, in the joint stage, of made-up ones that count."""
        if step.now.stage != "joint":
            return labelled
        everywhere = torch.ones_like(made.labels)
        return together([labelled, memory.rows(step.target, made.labels, everywhere, made.weights)])

    def _of_translated(self, network: DomainNetwork, batch: Batch, now: Moment) -> Features | None:
        """Return the network's features of xhat, normalised by itself; None without, or before it serves."""
        if self._section.translation.kind == "none" or now.stage == "translation":
            return None
        plain = plain_of(batch)
        image = plain if self.translation is None else self.translation.translate(plain)
        with network.statistics_kept():
            return network.target_features(image)

    def _on_translated(self, translated: Features, batch: Batch) -> Tensor:
        logits = translated.logits.float()
        return segmentation_loss(logits, batch.truth, batch.valid, self._loss)["segmentation"]

    def _translation_terms(
        self, network: DomainNetwork, batch: Batch, predicted: Predicted, now: Moment
    ) -> dict[str, Tensor]:
        """Return the losses of the translation where it learns, and what is watched of it where it is."""
        if self.translation is None:
            return {}
        plain = plain_of(batch)
        watched = self.translation.compare(plain, now.progress)
        if not self._generator_learns(now.progress):
            return watched
        probability = predicted.views.mean(dim=0)
        pair = Pair(plain, batch.truth, batch.valid, views_of(batch).plain, probability)
        return {**self.translation.learn(pair, network, self._random(now, TRANSLATION_STREAM)), **watched}

    def _generator_learns(self, progress: float) -> bool:
        return generator_learns(self._facts.step(progress), progress, self._section)

    def _random(self, now: Moment, stream: int) -> torch.Generator:
        return self._facts.random(now.progress, stream)
