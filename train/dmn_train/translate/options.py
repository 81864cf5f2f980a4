"""The settings of the translation, as plain values."""

from dataclasses import dataclass, field
from typing import Literal

from dmn_runtime.errors import RecipeError

Reading = Literal["rule", "learned", "none", "foreground", "consistency", "inverted"]
"""What the gate is (`gate.py`)."""


@dataclass(frozen=True)
class GeneratorSpec:
    """The facts that define a generator.

    Attributes:
        channels: slices that go in and come out, as channels.
        base: channels at full resolution; they double with each halving.
        blocks: residual blocks at a quarter of the resolution. CUT has base 64 and 9 blocks.
    """

    channels: int = 1
    base: int = 16
    blocks: int = 4

    @property
    def stages(self) -> int:
        """How many stages have features: the image, stem, two halvings, and the blocks."""
        return 4 + self.blocks

    def stage_channels(self, stage: int) -> int:
        """Return the channels of a stage's features."""
        return (self.channels, self.base, 2 * self.base)[stage] if stage < 3 else 4 * self.base


@dataclass(frozen=True)
class DiscriminatorSpec:
    """The facts that define a patch discriminator.

    Attributes:
        channels: slices that go in, as channels.
        base: channels of the first convolution; CUT has 64.
        halvings: strided convolutions; with 3 a verdict sees 70 x 70 px, with 2 it sees 34 x 34.
        spectral: divide each weight by its largest singular value (Miyato et al., ICLR 2018).
    """

    channels: int = 1
    base: int = 16
    halvings: int = 3
    spectral: bool = False


@dataclass(frozen=True)
class ContrastSpec:
    """The settings of the patchwise contrast; the figures are CUT's where it has them.

    Attributes:
        stages: of the generator whose features are compared, 0 being the image.
        locations: queries of an image and stage.
        likely_share: part of them that is drawn from the foreground and its outline; 0 draws all alike.
        width: length of the vectors that are compared.
        temperature: tau.
        least_cells: keys closer than this to the query, in cells of the stage, are no negatives of it.
        most_cosine: keys more alike than this are no negatives of each other,
        least_share: but this share of the keys, those least like the query's own, always count; below 1.
    """

    stages: tuple[int, ...] = (0, 2, 3, 4, 6)
    locations: int = 256
    likely_share: float = 0.5
    width: int = 256
    temperature: float = 0.07
    least_cells: float = 2.0
    most_cosine: float = 0.9
    least_share: float = 0.5


@dataclass(frozen=True)
class TranslationSpec:
    """The settings of the whole translation.

    Attributes:
        generator: the translator.
        discriminator: its judge.
        contrast: of the patchwise loss.
        gate: what the gate is.
        adversarial: weight of the generator's adversarial term.
        nce: weight of the contrast; raise it to 2 to 4 if the generator invents structures.
        identity: whether target crops pass the generator too, which is to leave them as they are.
        structure: weight of the structure loss.
    """

    generator: GeneratorSpec = field(default_factory=GeneratorSpec)
    discriminator: DiscriminatorSpec = field(default_factory=DiscriminatorSpec)
    contrast: ContrastSpec = field(default_factory=ContrastSpec)
    gate: Reading = "rule"
    adversarial: float = 1.0
    nce: float = 1.0
    identity: bool = True
    structure: float = 1.0


STRIDE_PX = 4
"""Height and width of what is translated are multiples of this: it is halved twice and doubled twice."""


def check_translation(spec: TranslationSpec, crop_px: int) -> None:
    """Raise where crops of `crop_px` cannot be translated, or compared, as `spec` says.

    Raises:
        RecipeError: the crop's edge is no multiple of 4 or too small; a stage is not one of the generator's.
    """
    least = smallest_crop_px(spec.discriminator)
    if crop_px % STRIDE_PX or crop_px < least:
        raise RecipeError(
            f"loop.crop_px is {crop_px}, but the translation halves crops twice and judges them in patches: "
            f"give a multiple of {STRIDE_PX} that is {least} or more"
        )
    stages, known = spec.contrast.stages, spec.generator.stages
    if not stages or max(stages) >= known or len(set(stages)) < len(stages):
        raise RecipeError(
            f"the translation is to compare the stages {list(stages)}, but a generator of "
            f"{spec.generator.blocks} blocks has the stages 0 to {known - 1}: name at least one, each once"
        )


def smallest_crop_px(spec: DiscriminatorSpec) -> int:
    """Return the smallest edge that leaves 3 cells for the last two convolutions, each of which takes one."""
    return max(16, 3 << spec.halvings)
