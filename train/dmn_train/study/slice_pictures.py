"""Pictures of single slices: a panel an arm, contours of truth and prediction over the image.

They show microscopy data, whose licence may forbid to hand them on: keep them with the runs.
"""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from dmn_runtime.metrics import IGNORED, POSITIVE, iou
from dmn_train.study.drawing import save, stretched, style
from dmn_train.study.slices import Shown, ShownSlice
from dmn_train.study.test_volume import TestVolume

# Blue and orange of Okabe and Ito's palette (jfly.uni-koeln.de/color, 2008): told apart by any kind of colour
# vision, and neither is a grey.
TRUTH, PREDICTION = "#56b4e9", "#e69f00"
LARGE_PX, WINDOW_PX = 512, 256
PANEL_INCHES = 5.0
LINE_POINTS, MARK_POINTS = 0.9, 11

Part = tuple[slice, slice]
"""Of a slice, yx."""


def draw_slice(shown: ShownSlice, test: TestVolume, path: Path) -> None:
    """Draw one slice: a panel an arm, and below a window of each where the slice is large.

    Args:
        shown: the slice; an arm without a run has no panel.
        test: the volume it is from.
        path: PNG to write.
    """
    classes = test.classes[shown.z]
    part = counted_part(classes)
    panels = [(arm.words, found) for arm, found in shown.arms if found is not None]
    window = worst_window(panels[-1][1].found, classes, part)
    parts = [part] if window is None else [part, window]
    heights = [PANEL_INCHES * _edges(one)[0] / _edges(one)[1] for one in parts]
    with style():
        figure = Figure((PANEL_INCHES * len(panels), sum(heights) + 0.3), layout="constrained")
        grid = figure.subplots(len(parts), len(panels), squeeze=False, height_ratios=heights)
        for row, one in zip(grid, parts, strict=True):
            grey = stretched(test.image.voxels[shown.z][one])
            for axes, (_, found) in zip(row, panels, strict=True):
                _panel(axes, grey, found, classes, one)
        for axes, (words, found) in zip(grid[0], panels, strict=True):
            axes.set_title(f"{words}: fg IoU {float(iou(found.mistakes.counts)):.3f}")
            if window is not None:
                axes.add_patch(_frame(window, part))
        save(figure, path)


def _panel(axes: Axes, grey: NDArray[np.uint8], found: Shown, classes: NDArray[np.uint8], part: Part) -> None:
    axes.set_axis_off()
    axes.imshow(grey, cmap="gray", vmin=0, vmax=255, interpolation="antialiased")
    counted = classes[part] != IGNORED
    for mask, colour in ((classes[part] == POSITIVE, TRUTH), (found.found[part] & counted, PREDICTION)):
        if mask.any() and not mask.all():  # else there is no line to draw
            axes.contour(mask.astype(np.float32), levels=[0.5], colors=colour, linewidths=LINE_POINTS)
    top, left = part[0].start, part[1].start
    for centres, mark, colour in (
        (found.mistakes.missed, "o", TRUTH),
        (found.mistakes.invented, "x", PREDICTION),
    ):
        inside = [(y - top, x - left) for y, x in centres if _holds(part, y, x)]
        axes.plot(
            [x for _, x in inside],
            [y for y, _ in inside],
            mark,
            color=colour,
            markersize=MARK_POINTS,
            fillstyle="none",
        )


def counted_part(classes: NDArray[np.uint8]) -> Part:
    """Return the smallest part of a slice, yx classes, that holds every pixel that counts."""
    rows, columns = (np.flatnonzero((classes != IGNORED).any(axis=axis)) for axis in (1, 0))
    return np.s_[int(rows[0]) : int(rows[-1]) + 1, int(columns[0]) : int(columns[-1]) + 1]


def worst_window(found: NDArray[np.bool_], classes: NDArray[np.uint8], part: Part) -> Part | None:
    """Return the window of `WINDOW_PX` with most wrong pixels, inside of a part; None where that is small.

    Args:
        found: predicted foreground, yx.
        classes: NEGATIVE, POSITIVE or IGNORED, yx.
        part: of the slice.
    """
    height, width = _edges(part)
    if max(height, width) <= LARGE_PX:
        return None
    wrong = ((found != (classes == POSITIVE)) & (classes != IGNORED))[part]
    tall, wide = min(WINDOW_PX, height), min(WINDOW_PX, width)
    sums = np.pad(wrong.astype(np.int64).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    inside = sums[tall:, wide:] - sums[:-tall, wide:] - sums[tall:, :-wide] + sums[:-tall, :-wide]
    y, x = (int(edge) for edge in np.unravel_index(int(inside.argmax()), inside.shape))
    y, x = y + part[0].start, x + part[1].start
    return np.s_[y : y + tall, x : x + wide]


def _edges(part: Part) -> tuple[int, int]:
    rows, columns = part
    return rows.stop - rows.start, columns.stop - columns.start


def _holds(part: Part, y: float, x: float) -> bool:
    rows, columns = part
    return bool(rows.start <= y < rows.stop and columns.start <= x < columns.stop)


def _frame(window: Part, part: Part) -> Rectangle:
    (tall, wide), (rows, columns) = _edges(window), window
    corner = (columns.start - part[1].start, rows.start - part[0].start)
    return Rectangle(corner, wide, tall, fill=False, edgecolor="white", linewidth=LINE_POINTS, linestyle="--")
