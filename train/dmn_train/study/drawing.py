"""What all figures of a study share: their style, their greys, and that they are the same bytes each time."""

from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dmn_runtime.volume.base import Voxels
from dmn_train.files import write_whole

DOTS_PER_INCH = 110


def style() -> AbstractContextManager[None]:
    """Return the context that figures are drawn in."""
    return mpl.rc_context({"font.size": 8.0, "axes.spines.top": False, "axes.spines.right": False})


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG."""
    # Without the library's name in it, a figure is the same bytes wherever it is drawn by the same version.
    write = partial(figure.savefig, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    write_whole(path, write)


def stretched(grey: Voxels) -> NDArray[np.uint8]:
    """Return raw greys as 8 bits, 1st to 99th percentile."""
    low, high = np.percentile(grey, (1.0, 99.0))
    shown: NDArray[np.uint8] = np.clip((grey - low) / max(high - low, 1.0) * 255.0, 0, 255).astype(np.uint8)
    return shown
