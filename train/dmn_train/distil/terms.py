"""All that a student is to match, as one module that a method holds."""

from typing import final

from torch import Tensor, nn

from dmn_train.distil.attention import attention_loss
from dmn_train.distil.options import DistilSpec
from dmn_train.distil.side_heads import SideHeads, side_loss
from dmn_train.distil.soft import logits_of, soft_divergence
from dmn_train.networks.sizes import NetworkSpec
from dmn_train.networks.unet import Features


@final
class Distillation(nn.Module):
    """Output, attention maps and side outputs, each with its weight."""

    def __init__(self, spec: DistilSpec, student: NetworkSpec) -> None:
        super().__init__()
        self._spec = spec
        self.side = SideHeads(student) if spec.side > 0.0 else None

    def forward(
        self, student: Features, labels: Tensor, weights: Tensor, teacher: Features | None
    ) -> dict[str, Tensor]:
        """Return "distil", the weighted sum, and beside it each term in use before its weight.

        The terms are "distil_output", "distil_attention" and "distil_side".

        Args:
            student: of its view of the crops.
            labels: n1hw float32, the teacher's probabilities, refined or not.
            weights: n1hw float32, at least 0.
            teacher: of its view of the same crops in the same turn; None where attention has weight 0.
        """
        spec, terms = self._spec, {}
        total = labels.new_zeros(())
        if spec.output > 0.0:
            terms["distil_output"] = soft_divergence(
                logits_of(labels), student.logits, weights, spec.temperature
            )
            total = total + spec.output * terms["distil_output"]
        if spec.attention > 0.0:
            assert teacher is not None, "attention maps are matched with the teacher's"
            terms["distil_attention"] = attention_loss(teacher, student, spec.attention_levels)
            total = total + spec.attention * terms["distil_attention"]
        if self.side is not None:
            terms["distil_side"] = side_loss(self.side(student), labels, weights)
            total = total + spec.side * terms["distil_side"]
        return {"distil": total, **terms}
