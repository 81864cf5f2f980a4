"""The memory as a part of training: what it learns from, what it is asked, what it says of labels."""

import copy
from typing import NamedTuple, final

import torch
from torch import Tensor, nn

from dmn_train.average import update_average
from dmn_train.memory.alarms import collapse_alarm, mean_cosine
from dmn_train.memory.bank import Bank
from dmn_train.memory.contrast import contrast_loss
from dmn_train.memory.options import RetrievalSpec
from dmn_train.memory.projector import CELL_PX, Projector
from dmn_train.memory.refine import certainty, memory_agrees, multiplied, power
from dmn_train.memory.retrieve import at_pixels, retrieve
from dmn_train.memory.structure import NO_CLASS, cell_classes, structure_classes
from dmn_train.memory.vectors import as_rows, balanced
from dmn_train.methods.dismemnet_parts.specs import bank_spec, refine_spec, structure_spec
from dmn_train.networks.sizes import NetworkSpec
from dmn_train.networks.unet import Features
from dmn_train.pseudo_labels import PseudoLabels, make_pseudo_labels
from dmn_train.sections import MemorySection, PseudoLabelSection


class Rows(NamedTuple):
    """Vectors and what they are.

    Attributes:
        vectors: (n, d) float32 unit vectors.
        classes: (n,) int64; NO_CLASS does not count.
    """

    vectors: Tensor
    classes: Tensor


def together(parts: list[Rows]) -> Rows:
    """Return all rows of several parts."""
    return Rows(*(torch.cat(each) for each in zip(*parts, strict=True)))


@final
class PrototypeMemory(nn.Module):
    """Bank, projector, and the projector's moving average, which goes with the teacher's features."""

    def __init__(self, section: MemorySection, spec: NetworkSpec) -> None:
        super().__init__()
        self._section = section
        self._structure = structure_spec(section)
        self.projector = Projector(spec, section.width)
        self.follower = copy.deepcopy(self.projector).requires_grad_(False)
        self.bank = Bank(section.classes, bank_spec(section))

    def rows(self, features: Features, mask: Tensor, known: Tensor, counts: Tensor | None = None) -> Rows:
        """Return the vectors of a batch with the structures that they belong to, as many of each.

        Args:
            features: of the network.
            mask: n1hw, foreground where above 0.5.
            known: n1hw, above 0 where that is labelled.
            counts: n1hw, 0 where a label that is known is not to be learned from.
        """
        pixels = structure_classes(mask, known, self._structure)
        if counts is not None:
            pixels = pixels.masked_fill(counts == 0.0, NO_CLASS)
        number = self._structure.classes
        cells = balanced(cell_classes(pixels, CELL_PX, number), number)
        return Rows(as_rows(self.projector(features)), cells.flatten())

    @torch.no_grad()
    def ask(self, features: Features) -> Tensor:
        """Return what the memory says about a teacher's features: logit of foreground, n1hw float32."""
        asked = retrieve(self.follower(features), self.bank.prototypes, RetrievalSpec())
        height, width = features.logits.shape[2:]
        return at_pixels(asked.logit, (height, width))

    def before(self, labelled: Rows, generator: torch.Generator) -> None:
        """Take in labelled rows before the memory is asked, if each batch is to have one of its own."""
        if self._section.kind == "batch":
            self.bank.start(*labelled, generator)

    def after(self, rows: Rows, generator: torch.Generator) -> None:
        """Take in all rows of a step, if the memory is to last."""
        if self._section.kind == "persistent":
            self.bank.learn(*rows, generator)

    def contrast(self, rows: Rows) -> Tensor:
        """Return the loss that draws rows to their prototypes."""
        return contrast_loss(*rows, self.bank.prototypes)

    def told(self) -> dict[str, Tensor]:
        """Return memory_cosine, by which a collapsed bank is known."""
        return {"memory_cosine": mean_cosine(self.bank.prototypes)}

    def follow(self, done: int, decay: float) -> None:
        """Let the follower follow, as the teacher does."""
        update_average(self.follower, self.projector, decay=decay, step=done)

    def alarms(self) -> tuple[str, ...]:
        """Return a sentence where the bank has collapsed."""
        sentence = collapse_alarm(float(mean_cosine(self.bank.prototypes)))
        return () if sentence is None else (sentence,)


@torch.no_grad()
def refined_labels(
    views: Tensor, logit: Tensor, memory: MemorySection, labels: PseudoLabelSection, progress: float
) -> tuple[PseudoLabels, Tensor]:
    """Return labels that the memory has set right, and the share of pixels where it agrees with the teacher.

    A multiplied probability takes the place of the teacher's in every view, so that pixels count by class as
    they do without a memory; what the memory puts into the other class does not count, if it is so wanted.
    The batch counts less by as much.

    Args:
        views: vn1hw float32, the teacher's probabilities by view.
        logit: n1hw, what the memory says.
        memory: its rule.
        labels: what is made of probabilities.
        progress: share of the steps that is done, 0 to 1.
    """
    spec = refine_spec(memory)
    shown = views
    if spec.rule in ("multiply", "multiply_and_ignore"):
        shown = multiplied(views, logit, power(spec, progress))
    made = make_pseudo_labels(shown, labels)
    agreed = memory_agrees(views.mean(dim=0), logit)
    weights = made.weights
    if memory.counts == "certainty":
        weights = certainty(shown.mean(dim=0), spec.least)
    if spec.rule in ("disagreement_ignore", "multiply_and_ignore"):
        weights = weights * agreed
    left = weights.sum() / made.weights.sum().clamp(min=1.0)
    return made._replace(weights=weights, trust=made.trust * left), agreed.float().mean()
