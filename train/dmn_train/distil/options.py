"""The settings of the distillation, as plain values."""

from dataclasses import dataclass

from dmn_runtime.errors import RecipeError

ATTENTION_DEPTHS = (1, 2, 3)  # how often the resolution is halved
SIDE_DEPTHS = (1, 2)


@dataclass(frozen=True)
class DistilSpec:
    """What a student is to match; a weight of 0 leaves a term out.

    Attributes:
        output: weight of the divergence of the outputs.
        temperature: T that both outputs' logits are divided by.
        attention: weight of the attention maps;
        attention_levels: what those of 1/2, 1/4 and 1/8 of the resolution count in it.
        side: weight of the side outputs at 1/2 and 1/4.
    """

    output: float = 1.0
    temperature: float = 2.0
    attention: float = 1.0
    attention_levels: tuple[float, float, float] = (0.5, 0.25, 0.25)
    side: float = 1.0


def check_distillation(spec: DistilSpec) -> None:
    """Raise where settings make no sense, whoever gave them.

    Raises:
        RecipeError: a weight is negative, the temperature is not above 0, or no level counts.
    """
    weights = (spec.output, spec.attention, spec.side, *spec.attention_levels)
    if min(weights) < 0.0:
        raise RecipeError(f"the distillation is to have the weight {min(weights):g}: give 0 or more")
    if spec.temperature <= 0.0:
        raise RecipeError(f"the distillation is to have temperature {spec.temperature:g}: give more than 0")
    if spec.attention > 0.0 and sum(spec.attention_levels) == 0.0:
        raise RecipeError(
            "the distillation is to match attention maps at no level: set their weight to 0, or one of "
            "attention_levels above it"
        )
