"""Learning rate as a function of the step, so that a resumed run needs no scheduler state."""

from math import cos, pi
from typing import Literal

POLY_POWER = 0.9
COSINE_FLOOR = 0.01


def learning_rate(
    step: int,
    *,
    peak: float,
    steps: int,
    warmup_steps: int,
    schedule: Literal["cosine", "poly", "step", "constant"],
    drop: float = 0.95,
    drop_every_steps: int = 100,
) -> float:
    """Return the rate of `step` (0 to steps - 1).

    Linear from peak / warmup_steps to peak over the warm-up; then one of

    - cosine: down to 1 % of the peak (Loshchilov and Hutter, SGDR, ICLR 2017);
    - poly: peak * (1 - p) ** 0.9 (Chen et al., DeepLab, 2016), p being the share of the remaining steps that
      is done;
    - step: peak * drop ** k after k times drop_every_steps, counted from the end of the warm-up;
    - constant: the peak.
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    if schedule == "constant":
        return peak
    if schedule == "step":
        return float(peak * drop ** ((step - warmup_steps) // drop_every_steps))
    done = (step - warmup_steps) / max(1, steps - warmup_steps)
    if schedule == "poly":
        return float(peak * (1.0 - done) ** POLY_POWER)
    return peak * (COSINE_FLOOR + (1.0 - COSINE_FLOOR) * 0.5 * (1.0 + cos(pi * done)))
