"""Two plots of a contest: speed as bars, and speed against IoU."""

from pathlib import Path

import matplotlib as mpl

from contest.store import Record, Store
from contest.verdict import iou_of, speed

mpl.use("Agg")
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator

DMN, PEER = "#c0392b", "#7f8c8d"


def plot_speed(store: Store, path: Path) -> None:
    """Draw voxels per second of every contestant as bars, with the range of the rounds."""
    _panels(store, path, _bars, (5.2, 0.24 * len(store.config["contestants"]) + 1.0))


def plot_iou(store: Store, path: Path) -> None:
    """Draw IoU over voxels per second; without labels a panel stays empty."""
    _panels(store, path, _points, (6.4, 3.6))


def _panels(store: Store, path: Path, draw: object, size: tuple[float, float]) -> None:
    volumes, students = list(store.config["volumes"]), list(store.config["students"])
    figure, grid = pyplot.subplots(
        len(volumes), len(students), squeeze=False, layout="constrained",
        figsize=(size[0] * len(students), size[1] * len(volumes)),
    )  # fmt: skip
    for row, volume in zip(grid, volumes, strict=True):
        for axes, student in zip(row, students, strict=True):
            axes.set_title(f"{volume}, {student}", fontsize=10)
            assert callable(draw)
            draw(store, {"volume": volume, "student": student}, axes)
    figure.savefig(path, dpi=110, format="png")
    pyplot.close(figure)


def _bars(store: Store, course: Record, axes: Axes) -> None:
    found = [(name, speed(store, course, name)) for name in store.config["contestants"]]
    shown = [(name, one) for name, one in found if one is not None]
    shown.sort(key=lambda pair: pair[1].median)
    medians = [one.median / 1e6 for _, one in shown]
    spread = [
        [(one.median - one.low) / 1e6 for _, one in shown],
        [(one.high - one.median) / 1e6 for _, one in shown],
    ]
    axes.barh([name for name, _ in shown], medians, xerr=spread, color=[_colour(name) for name, _ in shown])
    axes.set_xlabel("Mvoxel/s (working grid)")
    axes.tick_params(labelsize=8)


def _points(store: Store, course: Record, axes: Axes) -> None:
    for place, name in enumerate(store.config["contestants"]):
        fast, iou = speed(store, course, name), iou_of(store, course, name)
        if fast is None or iou is None:
            continue
        colour = mpl.colormaps["tab20"](place % 20)
        axes.plot(fast.median / 1e6, iou, _marker(name), color=colour, label=name, markersize=8)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(LogLocator(subs=(2, 5)))
    axes.xaxis.set_minor_formatter("{x:g}")
    axes.tick_params(labelsize=8, which="both")
    if axes.lines:
        axes.legend(fontsize=6, loc="center left", bbox_to_anchor=(1.0, 0.5))
    axes.set_xlabel("Mvoxel/s (working grid)")
    axes.set_ylabel("foreground IoU")


def _marker(name: str) -> str:
    families = {"dmn": "*", "monai": "s", "torch-em": "D", "bioimageio": "^"}
    return next((marker for family, marker in families.items() if name.startswith(family)), "o")


def _colour(name: str) -> str:
    return DMN if name.startswith("dmn") else PEER
