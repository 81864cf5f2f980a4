"""One step of the translation: all of its terms, put together such that one backward pass is right.

L_D = (mean (D(x_t) - 1)^2 + mean D(xhat)^2) / 2, with xhat detached. L_G = mean (D(xhat) - 1)^2 + (L_gNCE(x_s
-> xhat) + L_gNCE(x_t -> G(x_t))) / 2 + L_str: CUT (Park et al., ECCV 2020) and CFDA-M (BIBM 2022), whose
weights are all 1, with the gate and L_str of our reading of DiSMemNet.

Both are parts of one sum, one optimiser and one backward pass: L_D sees detached images, and so no gradient
of it reaches the generator; L_G goes through the discriminator and the segmentation network with detached
weights, and so teaches neither. Where others take turns, this takes one step of both on the same images.
"""

from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from torch import Tensor, nn

from dmn_train.translate.discriminator import Discriminator, adversarial_loss, discriminator_loss
from dmn_train.translate.frozen import call_frozen
from dmn_train.translate.gate import Compared, Gate, inconsistency, pull_open, seen_by_gate
from dmn_train.translate.generator import Generator, Translated
from dmn_train.translate.locations import draw_locations, gather
from dmn_train.translate.nce import PatchHeads, find_negatives, gated_mean, patch_nce
from dmn_train.translate.options import TranslationSpec
from dmn_train.translate.regions import ELSEWHERE, LIKELY, find_regions, on_grid
from dmn_train.translate.structure import structure_loss


class Pair(NamedTuple):
    """What a step of the translation is given.

    Attributes:
        source: nchw float32, labelled images.
        truth: n1hw float32, 1 foreground, 0 else.
        valid: n1hw float32, 1 labelled, 0 else.
        target: nchw float32, images in the style that is wanted.
        target_probability: n1hw float32, where a teacher believes foreground in them; None without a teacher.
    """

    source: Tensor
    truth: Tensor
    valid: Tensor
    target: Tensor
    target_probability: Tensor | None = None


@dataclass(frozen=True)
class Translation:
    """What a step of the translation gives.

    Attributes:
        image: xhat, nchw float32; detached, to train a segmentation network on.
        losses: named scalars. "translation" is what is descended along: L_G + L_D. Its terms: "adversarial",
            "discriminator", "nce", "nce_identity", "structure" and its two terms, "gate_pull". To be watched:
            "gate" (mean of g in the source's pass), "inconsistency" (`gate.py`, there) and "negatives" (share
            of pairs that are unlike there, not counting those that `least_share` adds: with these it could
            not become small).
            What is not computed has no key.
    """

    image: Tensor
    losses: dict[str, Tensor]


class Contrast(NamedTuple):
    """The contrast of one pass, means over its stages.

    Attributes:
        loss: L_gNCE.
        pull: what a learned gate adds.
        gate: mean of g, detached.
        inconsistency: how much of what is beside what has changed, likewise.
        negatives: share of pairs of places that are unlike, detached.
    """

    loss: Tensor
    pull: Tensor
    gate: Tensor
    inconsistency: Tensor
    negatives: Tensor


@final
class Translator(nn.Module):
    """Generator, discriminator, heads and gates, which learn together and end with the training."""

    def __init__(self, spec: TranslationSpec) -> None:
        super().__init__()
        self.spec = spec
        contrast = spec.contrast
        channels = tuple(spec.generator.stage_channels(stage) for stage in contrast.stages)
        self.generator = Generator(spec.generator)
        self.discriminator = Discriminator(spec.discriminator)
        self.heads = PatchHeads(channels, contrast.width)
        # One gate a pass: what the identity leaves of the target differs less than what a translation does.
        self.source_gate = Gate(spec.gate, contrast)
        self.target_gate = Gate(spec.gate, contrast) if spec.identity else None

    def forward(self, pair: Pair, segmenter: nn.Module, generator: torch.Generator) -> Translation:
        """Translate the source and return the losses of a step.

        Args:
            pair: the images, on the module's device.
            segmenter: S, from nchw images to n1hw logits; it learns nothing here, and its running statistics
                do not move.
            generator: of all random numbers, on the CPU.
        """
        spec, stages = self.spec, self.spec.contrast.stages
        translated = self.generator(pair.source, stages)
        regions = find_regions(pair.truth, pair.valid)
        terms = self._against_discriminator(translated.image, pair.target)
        contrast = self._contrast(translated, regions.weight, self.source_gate, generator)
        terms |= {"nce": contrast.loss, "gate": contrast.gate, "negatives": contrast.negatives}
        terms["inconsistency"] = contrast.inconsistency
        held, pull = contrast.loss, contrast.pull
        if self.target_gate is not None:
            kept = self.generator(pair.target, stages)
            weight = _target_weight(pair)
            identity = self._contrast(kept, weight, self.target_gate, generator)
            terms["nce_identity"] = identity.loss
            held, pull = (held + identity.loss) / 2.0, (pull + identity.pull) / 2.0
        total = terms["discriminator"] + spec.adversarial * terms["adversarial"] + spec.nce * held
        if spec.gate == "learned":
            terms["gate_pull"] = pull
            total = total + pull
        if spec.structure:
            logits = call_frozen(segmenter, translated.image)
            found = structure_loss(
                logits, pair.truth, pair.valid, translated.image, pair.source, regions.band
            )
            terms |= found
            total = total + spec.structure * found["structure"]
        return Translation(translated.image.detach(), {"translation": total, **terms})

    def _against_discriminator(self, translated: Tensor, target: Tensor) -> dict[str, Tensor]:
        on_translated = self.discriminator(translated.detach())
        return {
            "discriminator": discriminator_loss(self.discriminator(target), on_translated),
            "adversarial": adversarial_loss(call_frozen(self.discriminator, translated)),
        }

    def _contrast(
        self, translated: Translated, weight: Tensor, gate: Gate, generator: torch.Generator
    ) -> Contrast:
        """Return the contrast between images and their translations; `weight` is w, n1hw."""
        afterwards = self.generator.features(translated.image, self.spec.contrast.stages)
        each = [
            self._contrast_at(number, before, after, weight, gate, generator)
            for number, (before, after) in enumerate(zip(translated.features, afterwards, strict=True))
        ]
        return Contrast(*(torch.stack(part).mean() for part in zip(*each, strict=True)))

    def _contrast_at(
        self,
        number: int,
        before: Tensor,
        after: Tensor,
        weight: Tensor,
        gate: Gate,
        generator: torch.Generator,
    ) -> Contrast:
        """Return the contrast of the `number`-th compared stage."""
        spec = self.spec.contrast
        height, width = before.shape[2:]
        grid = on_grid(weight, height, width)
        places = draw_locations(grid > LIKELY, spec.locations, spec.likely_share, generator)
        keys = self.heads(gather(before.detach(), places), number).detach()
        queries = self.heads(gather(after, places), number)
        negatives, unlike = (
            find_negatives(
                keys,
                places,
                width,
                least_cells=spec.least_cells,
                most_cosine=spec.most_cosine,
                least_share=share,
            )
            for share in (spec.least_share, 0.0)
        )
        losses = patch_nce(queries, keys, negatives, spec.temperature)
        stage = spec.stages[number]
        seen = (seen_by_gate(before.detach(), stage), seen_by_gate(after.detach(), stage))
        at_places = grid.flatten(1).gather(1, places)
        gates = gate(Compared(*seen, places, at_places, keys, queries), number)
        return Contrast(
            loss=gated_mean(losses, gates),
            pull=pull_open(gates),
            gate=gates.detach().mean(),
            inconsistency=inconsistency(*seen, places),
            negatives=unlike.float().mean(),
        )


def _target_weight(pair: Pair) -> Tensor:
    """Return w of the target: from the teacher's belief or, without one, the same everywhere."""
    if pair.target_probability is None:
        return torch.full_like(pair.target[:, :1], ELSEWHERE)
    return find_regions(pair.target_probability).weight
