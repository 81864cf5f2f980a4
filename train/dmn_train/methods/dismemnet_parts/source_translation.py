"""The source in the target's style: a translator that learns, and the images that are learned from."""

import copy
from typing import final

import torch
from torch import Tensor, nn

from dmn_train.average import update_average
from dmn_train.domains import DomainNetwork
from dmn_train.means import Means
from dmn_train.methods.base import OwnRate
from dmn_train.methods.dismemnet_parts.facts import RunFacts
from dmn_train.methods.dismemnet_parts.specs import translation_spec
from dmn_train.networks.sizes import NetworkSpec
from dmn_train.sections import TranslationSection
from dmn_train.translate.alarms import (
    consistency_alarm,
    gate_alarm,
    invention_alarm,
    mask_dice,
    negatives_alarm,
)
from dmn_train.translate.objective import Pair, Translator

BETAS = (0.5, 0.999)  # the momentum that adversarial training is used to: docs/translation.md
WATCHED = {"gate": gate_alarm, "inconsistency": consistency_alarm, "negatives": negatives_alarm}
MEMORY_STEPS = 50
JUDGE_EVERY = 20
MEMORY_JUDGEMENTS = 5


@final
class SourceTranslation(nn.Module):
    """A translator, the moving average of its generator, and a judge of what that draws.

    The network learns on images of the average: the generator's own swing from step to step. They are
    cut off where normalised intensities are.
    """

    judge: DomainNetwork

    def __init__(self, section: TranslationSection, spec: NetworkSpec, facts: RunFacts) -> None:
        super().__init__()
        self._section = section
        self._facts = facts
        self.translator = Translator(translation_spec(section, spec))
        self.generator_average = copy.deepcopy(self.translator.generator).requires_grad_(False)
        self.watched = Means(tuple(WATCHED), MEMORY_STEPS)
        self.judged = Means(("objects_kept",), MEMORY_JUDGEMENTS)

    def begin(self, network: DomainNetwork) -> None:
        """Keep the first weights as the judge, if they have learned what foreground is."""
        if self._facts.trained_start:
            self.judge = copy.deepcopy(network).requires_grad_(False)

    def rates(self) -> tuple[OwnRate, ...]:
        """Return the translator's own rate; adversarial training is used to no weight decay."""
        return (OwnRate(self.translator, self._section.lr, BETAS, weight_decay=0.0),)

    def learn(self, pair: Pair, network: DomainNetwork, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the losses of a step of the translation; "translation" is what is descended along."""
        losses: dict[str, Tensor] = self.translator(pair, network, generator).losses
        for name in WATCHED:
            self.watched.note(name, losses[name])
        return losses

    @torch.no_grad()
    def translate(self, plain: Tensor) -> Tensor:
        """Return source crops, nchw, in the target's style: float32 without a gradient."""
        image: Tensor = self.generator_average(plain).image
        return image.clamp(-self._facts.clip, self._facts.clip)

    @torch.no_grad()
    def compare(self, plain: Tensor, progress: float) -> dict[str, Tensor]:
        """Return "objects_kept", the Dice of what the judge finds in crops before and after, now and then.

        Each is normalised by itself: the judge is to see other objects, not another style. Without a judge,
        and in other steps, there is nothing.
        """
        if not self._facts.trained_start or self._facts.step(progress) % JUDGE_EVERY:
            return {}
        judge = self.judge.train()
        with judge.statistics_kept():
            before = judge.source_features(plain).logits
            after = judge.target_features(self.translate(plain)).logits
        kept = before.new_tensor(mask_dice(before, after), dtype=torch.float32)
        self.judged.note("objects_kept", kept)
        return {"objects_kept": kept}

    def follow(self, done: int) -> None:
        """Let the average follow the generator, which has learned in step number `done`."""
        update_average(
            self.generator_average, self.translator.generator, decay=self._section.decay, step=done
        )

    def alarms(self) -> tuple[str, ...]:
        """Return sentences on a translation that has gone wrong."""
        return self.watched.alarms(WATCHED) + self.judged.alarms({"objects_kept": invention_alarm})
