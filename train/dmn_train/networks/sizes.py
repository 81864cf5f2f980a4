"""What defines a network, and the table of named students."""

from dataclasses import dataclass


@dataclass(frozen=True)
class NetworkSpec:
    """The facts that define a U-Net.

    Attributes:
        base: channels of the first level; level l has base * 2**l.
        levels: number of poolings.
        context_slices: neighbouring slices read on both sides of a slice.
    """

    base: int
    levels: int
    context_slices: int

    @property
    def in_channels(self) -> int:
        """Slices that go in, as channels."""
        return 2 * self.context_slices + 1

    @property
    def stride_px(self) -> int:
        """Height and width of the input must be multiples of this."""
        return 1 << self.levels


SIZES: dict[str, NetworkSpec] = {
    "s8": NetworkSpec(base=8, levels=3, context_slices=0),
    "s16": NetworkSpec(base=16, levels=3, context_slices=0),
    "s32": NetworkSpec(base=32, levels=3, context_slices=0),
}
"""Named students, smallest first."""


def size_name(spec: NetworkSpec) -> str:
    """Return the name of a network's size, "s8", or its numbers."""
    for name, known in SIZES.items():
        if (known.base, known.levels) == (spec.base, spec.levels):
            return name
    return f"base {spec.base}, {spec.levels} levels"
