"""Acquisition regimes: how a microscope turns electron density into grey values. A closed table."""

from dataclasses import dataclass

from dmn_runtime.errors import UsageError

Range = tuple[float, float]


@dataclass(frozen=True)
class Regime:
    """One way of acquiring; each pair is a range from which a volume draws its own value.

    Attributes:
        section_nm: slice distance; None for isotropic voxels.
        background: grey value (0 to 1) of empty resin.
        contrast: grey difference (0 to 1) between resin and the densest stain.
        blur_nm: standard deviation of the optics' blur in the plane.
        shot: standard deviation of signal-dependent noise at full grey.
        read: standard deviation of noise that does not depend on the signal.
        flicker: standard deviation of brightness from slice to slice.
        shift_nm: standard deviation of misalignment from slice to slice.
        gradient: strength of uneven brightness over the field.
        smear: strength of charging: bands, streaks and halos.
        grain: strength of the cytoplasm's granularity.
        cristae: how plain cristae are.
        matrix: density of the mitochondrial matrix.
    """

    section_nm: float | None
    background: Range
    contrast: Range
    blur_nm: Range
    shot: Range
    read: Range
    flicker: float
    shift_nm: float
    gradient: Range
    smear: Range
    grain: Range
    cristae: Range
    matrix: Range


REGIMES: dict[str, Regime] = {
    "fibsem": Regime(
        None, (0.78, 0.88), (0.5, 0.65), (4, 8), (0.02, 0.05), (0.005, 0.02), 0.004, 0.0,
        (0.0, 0.06), (0.0, 0.0), (0.08, 0.2), (0.2, 1.0), (0.4, 0.75),
    ),
    "sstem": Regime(
        50.0, (0.74, 0.86), (0.7, 0.85), (2, 5), (0.03, 0.07), (0.005, 0.02), 0.03, 8.0,
        (0.0, 0.08), (0.0, 0.0), (0.1, 0.24), (0.5, 1.0), (0.35, 0.65),
    ),
    "sbfsem": Regime(
        50.0, (0.62, 0.85), (0.45, 0.85), (8, 15), (0.05, 0.11), (0.02, 0.05), 0.01, 3.0,
        (0.0, 0.08), (0.0, 0.02), (0.08, 0.25), (0.0, 0.5), (0.55, 0.9),
    ),
    "charging": Regime(
        50.0, (0.68, 0.82), (0.5, 0.75), (6, 11), (0.05, 0.1), (0.01, 0.04), 0.03, 5.0,
        (0.08, 0.2), (0.05, 0.14), (0.1, 0.25), (0.1, 0.8), (0.4, 0.85),
    ),
    "dim": Regime(
        None, (0.45, 0.65), (0.14, 0.28), (4, 9), (0.01, 0.025), (0.003, 0.01), 0.003, 0.0,
        (0.0, 0.03), (0.0, 0.01), (0.08, 0.2), (0.1, 0.7), (0.45, 0.75),
    ),
}  # fmt: skip


def find_regime(name: str) -> Regime:
    """Return the regime called `name`.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in REGIMES:
        raise UsageError(f"there is no phantom regime {name!r}: choose one of {', '.join(REGIMES)}")
    return REGIMES[name]
