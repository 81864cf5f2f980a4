"""The report's figures: bars of methods, curves of fine-tuning, and outlines on a test slice."""

from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from dmn_runtime.metrics import IGNORED, POSITIVE
from dmn_runtime.tiles import grey_threshold
from dmn_train.run import load_run
from dmn_train.study.drawing import save, stretched, style
from dmn_train.study.predict import predict
from dmn_train.study.tables import Curve, ProtocolTable
from dmn_train.study.test_volume import TestVolume
from dmn_train.validate import PREDICTION_COLOUR, TRUTH_COLOUR, outline

BAR_COLOUR, SEED_COLOUR, PUBLISHED_COLOUR = "#9ab7d3", "#1f3b57", "#c2410c"
PANEL_INCHES = 3.4
WORDS_WIDTH = 30
WINDOW_PX, WINDOW_STEP_PX = 384, 64
MARKERS = "osD^vP*X"


def draw_bars(tables: tuple[ProtocolTable, ...], baseline: str, path: Path) -> None:
    """Draw a panel a protocol: bar = mean, whisker = sd over seeds, dots = seeds, diamonds = published.

    Args:
        tables: of the panels, one each.
        baseline: name of the arm whose mean is a line through those panels that it stands in.
        path: PNG to write.
    """
    with style():
        save(bars(tables, baseline), path)


def bars(tables: tuple[ProtocolTable, ...], baseline: str) -> Figure:
    """Return the figure of `draw_bars`."""
    lines = [line for table in tables for line in table.lines]
    marks = _bar_marks(
        baseline if any(line.arm.name == baseline for line in lines) else None,
        published=any(line.published is not None for line in lines),
    )
    columns = len(marks) if len(tables) > 1 else 1  # one panel is too narrow for marks side by side
    most = max(len(table.lines) for table in tables)
    height = 0.34 * most + 1.2 + 0.2 * (len(marks) // columns)
    figure = Figure((PANEL_INCHES * len(tables) + 1.4, height), layout="constrained")
    panels = figure.subplots(1, len(tables), squeeze=False)[0]
    for axes, table in zip(panels, tables, strict=True):
        _bars(axes, table, baseline)
    figure.legend(handles=marks, loc="outside lower center", ncols=columns, frameon=False)
    return figure


def _bars(axes: Axes, table: ProtocolTable, baseline: str) -> None:
    for place, line in enumerate(table.lines):
        if line.summary is not None:
            volume = line.summary.volume
            axes.barh(place, volume.mean, height=0.62, color=BAR_COLOUR, xerr=volume.sd, capsize=2)
            axes.plot(list(volume.by_seed.values()), [place] * volume.n, ".", color=SEED_COLOUR, markersize=4)
            if line.arm.name == baseline:
                axes.axvline(volume.mean, color=SEED_COLOUR, linewidth=0.7, linestyle="--")
        if line.published is not None:
            axes.plot(line.published, place, "D", color=PUBLISHED_COLOUR, markersize=5, fillstyle="none")
    # Words of any length would leave the bars no room.
    words = [fill(line.arm.words, WORDS_WIDTH) for line in table.lines]
    axes.set_yticks(range(len(table.lines)), words)
    axes.set_ylim(len(table.lines) - 0.4, -0.6)
    axes.set_xlim(left=0.0)
    axes.set_xlabel("foreground IoU")
    axes.set_title(table.protocol.name)


def _bar_marks(baseline: str | None, *, published: bool) -> list[Artist]:
    """Return what the legend of bars explains, of a baseline and of published figures where there are any."""
    of_baseline = Line2D(
        [], [], color=SEED_COLOUR, linewidth=0.7, linestyle="--", label=f"mean of {baseline}"
    )
    of_published = Line2D(
        [], [], color=PUBLISHED_COLOUR, marker="D", linestyle="none", fillstyle="none", label="published"
    )
    return [
        Patch(color=BAR_COLOUR, label="mean, whisker: sd over seeds"),
        Line2D([], [], color=SEED_COLOUR, marker=".", linestyle="none", label="one seed"),
        *([of_baseline] if baseline else []),
        *([of_published] if published else []),
    ]


def draw_fractions(fine: tuple[Curve, ...], path: Path) -> None:
    """Draw foreground IoU against the share of labels: mean and sd over seeds."""
    with style():
        figure = Figure((4.8, 3.2), layout="constrained")
        axes = figure.subplots()
        for curve, marker in zip(fine, MARKERS * len(fine), strict=False):
            points = {x: summary.volume for x, summary in curve.by_fraction.items() if summary is not None}
            axes.errorbar(
                list(points),
                [volume.mean for volume in points.values()],
                yerr=[volume.sd or 0.0 for volume in points.values()],
                marker=marker,
                markersize=4,
                linewidth=1,
                capsize=2,
                label=curve.arm.words,
            )
        axes.set_xlabel("share of the labelled slices")
        axes.set_ylabel("foreground IoU")
        axes.legend(frameon=False)
        save(figure, path)


def draw_overlays(test: TestVolume, runs: dict[str, Path], path: Path) -> None:
    """Draw one test slice for each run: image, outline of truth (green) and of prediction (magenta).

    The picture shows microscopy data, whose licence may forbid to hand it on: keep it with the runs.

    Args:
        test: the test volume; of its slice of median foreground the window of most foreground is shown.
        runs: run folders by the words above their panels.
        path: PNG to write.
    """
    z = _median_slice(test)
    part = _fullest_window(test.classes[z])
    truth = test.classes[z][part] == POSITIVE
    grey = stretched(test.image.voxels[z][part])
    across = min(4, len(runs))
    down = -(-len(runs) // across)
    with style():
        height = PANEL_INCHES * truth.shape[0] / truth.shape[1] + 0.3
        figure = Figure((PANEL_INCHES * across, height * down), layout="constrained")
        panels = figure.subplots(down, across, squeeze=False).ravel()
        for axes in panels:
            axes.set_axis_off()
        for axes, (words, folder) in zip(panels, runs.items(), strict=False):
            run = load_run(folder)
            ((_, probability),) = predict(run, run.network(), test, [z])
            axes.imshow(_outlined(grey, truth, probability[part] >= grey_threshold(run.threshold)))
            axes.set_title(f"{words}, slice {z}")
        save(figure, path)


def _median_slice(test: TestVolume) -> int:
    foreground = {z: int((test.classes[z] == POSITIVE).sum()) for z in test.slices}
    return sorted(foreground, key=lambda z: (foreground[z], z))[len(foreground) // 2]


def _fullest_window(classes: NDArray[np.uint8]) -> tuple[slice, slice]:
    """Return the window, yx, at most WINDOW_PX wide and high, of most foreground among voxels that count."""
    counted = np.flatnonzero((classes != IGNORED).any(axis=0))
    first, stop = int(counted[0]), int(counted[-1]) + 1
    height, width = min(WINDOW_PX, len(classes)), min(WINDOW_PX, stop - first)
    corners = [
        (y, x)
        for y in range(0, len(classes) - height + 1, WINDOW_STEP_PX)
        for x in range(first, stop - width + 1, WINDOW_STEP_PX)
    ]
    windows = [np.s_[y : y + height, x : x + width] for y, x in corners]
    return max(windows, key=lambda window: int((classes[window] == POSITIVE).sum()))


def _outlined(
    grey: NDArray[np.uint8], truth: NDArray[np.bool_], found: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    rgb = np.repeat(grey[..., None], 3, axis=2)
    rgb[outline(truth)] = TRUTH_COLOUR
    rgb[outline(found)] = PREDICTION_COLOUR
    return rgb
