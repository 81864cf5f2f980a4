"""What a network costs for each pixel of its input, counted from its spec."""

from dmn_train.networks.sizes import NetworkSpec

TAPS = 9  # of a 3x3 convolution


def multiply_adds_per_px(spec: NetworkSpec) -> float:
    """Return the multiply-adds of all convolutions of a U-Net for each pixel of its input.

    The same number as the exporter counts on the ONNX graph.
    """
    widths = [spec.base << level for level in range(spec.levels + 1)]
    total = 0.0
    for level, (before, width) in enumerate(zip([spec.in_channels, *widths], widths, strict=False)):
        total += TAPS * (before * width + width * width) / 4**level
    for level in range(spec.levels):
        lifted, width = widths[level + 1], widths[level]
        total += TAPS * (lifted * width + 2 * width * width + width * width) / 4**level
    return total + spec.base
