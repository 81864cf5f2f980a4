"""How far each precision may stray from the trained network before it is another segmentation."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Tolerance:
    """What is allowed: difference of probability in any pixel, and 1 - IoU of the masks.

    `speedup`: how many times as fast as fp32 by the same engine a precision must be, 0 where it need not.
    """

    max_dp: float
    iou_change: float
    speedup: float = 0.0


TOLERANCES = {
    "fp32": Tolerance(max_dp=1e-4, iou_change=0.0005),
    "fp16": Tolerance(max_dp=0.05, iou_change=0.002),
    "bf16": Tolerance(max_dp=0.2, iou_change=0.005),
    "int8": Tolerance(max_dp=0.5, iou_change=0.005, speedup=1.5),
    "int8-trt": Tolerance(max_dp=0.5, iou_change=0.005),
}
"""Precision -> what is allowed.

The bounds of IoU are the promise to users. Those of a single pixel catch arithmetic that is wrong in a few
places and right elsewhere, which a mask of many pixels hides: saturating 8-bit sums turn single pixels from
sure background into sure foreground. An 8-bit network on a CPU must be worth its loss: it serves nothing but
speed.
"""
