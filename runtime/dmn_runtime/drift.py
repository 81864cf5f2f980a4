"""The drift alarm: when a volume lies outside the domain that a package was trained on (docs/report.md).

Sentences for people, not a score: none means that nothing in the grey values or in the result looked foreign,
which is no proof that the result is good.
"""

from dmn_runtime.contract import QUANTILE_PERCENTS, Domain

TOLERANCE = 0.35
"""Largest difference of a normalised quantile (training range: -1 to 1) that raises no alarm."""
SHARE_BELOW = 0.2
SHARE_ABOVE = 4.0
"""Foreground share over that of the training labels outside which the alarm is raised."""

_MIDDLE = slice(1, -1)  # the outermost quantiles are pinned to -1 and 1 by the usual normalisation


def intensity_drift(domain: Domain, quantiles: tuple[float, ...]) -> list[str]:
    """Compare a volume's grey values with the training domain's.

    Args:
        domain: of the package.
        quantiles: normalised grey values of the volume at `QUANTILE_PERCENTS`, of `normalise.quantiles`.

    Returns:
        No sentence or one.
    """
    rows = list(zip(QUANTILE_PERCENTS, quantiles, domain.quantiles, strict=True))
    percent, here, there = max(rows[_MIDDLE], key=lambda row: abs(row[1] - row[2]))
    if abs(here - there) <= TOLERANCE:
        return []
    return [
        f"the grey values lie outside the training domain: the {percent:g}th percentile is {here:+.2f} here "
        f"and {there:+.2f} in training, where -1 is black and +1 is white; {_cause(quantiles)}"
    ]


def _cause(quantiles: tuple[float, ...]) -> str:
    low, high = quantiles[0] == quantiles[2], quantiles[-1] == quantiles[-3]
    if low or high:
        return (
            f"at least a quarter of the volume is plain {'black' if low else 'white'}: crop the padding or "
            "the empty resin away"
        )
    return "check contrast and staining, and look at the preview before you trust the result"


def share_drift(domain: Domain, foreground_share: float) -> list[str]:
    """Compare the result's share of foreground (0 to 1) with that of the training labels.

    Returns:
        No sentence or one; none where the training labels had no foreground.
    """
    trained = domain.foreground_share
    if trained == 0.0 or SHARE_BELOW <= foreground_share / trained <= SHARE_ABOVE:
        return []
    amount = "little" if foreground_share < trained else "much"
    return [
        f"the result holds {amount} foreground: {100 * foreground_share:.2g} % of the voxels, where the "
        f"training labels had {100 * trained:.2g} %; look at the preview, and check voxel size and contrast"
    ]
