"""The results of a search: a tidy CSV, one line a run, and a Markdown table, one line a point, ranked."""

import csv
import io
from dataclasses import dataclass
from statistics import mean, stdev

from dmn_train.search.grid import Point, shown
from dmn_train.search.plan import Job


@dataclass(frozen=True)
class Result:
    """A finished run of a search.

    Attributes:
        job: what was run.
        held_out_iou: foreground IoU on the fold's held-out slices.
        wall_s: seconds of training.
    """

    job: Job
    held_out_iou: float
    wall_s: float


@dataclass(frozen=True)
class Summary:
    """A point over its folds.

    Attributes:
        point: the settings.
        mean: of the held-out IoU.
        sd: of the sample; None of a single fold.
        n: folds that are finished.
    """

    point: Point
    mean: float
    sd: float | None
    n: int


def ranked(results: tuple[Result, ...]) -> tuple[Summary, ...]:
    """Return the points by falling mean; those with more finished folds come first."""
    scores: dict[Point, list[float]] = {}
    for result in results:
        scores.setdefault(result.job.point, []).append(result.held_out_iou)
    summaries = [
        Summary(point, mean(ious), stdev(ious) if len(ious) > 1 else None, len(ious))
        for point, ious in scores.items()
    ]
    return tuple(sorted(summaries, key=lambda one: (-one.n, -one.mean)))


def as_csv(results: tuple[Result, ...]) -> str:
    """Return one line a run: its settings, its fold, the IoU, seconds of training and the folder."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    keys = [key for key, _ in results[0].job.point.settings]
    writer.writerow([*keys, "fold", "held_out", "held_out_iou", "wall_s", "run"])
    for result in results:
        job = result.job
        values = [shown(value) for _, value in job.point.settings]
        scores = [f"{result.held_out_iou:.6f}", f"{result.wall_s:.1f}"]
        writer.writerow([*values, job.fold.name, job.fold.held_out, *scores, job.folder.as_posix()])
    return text.getvalue()


def as_markdown(summaries: tuple[Summary, ...]) -> str:
    """Return the ranked table."""
    keys = [key for key, _ in summaries[0].point.settings]
    head = ["rank", *keys, "held-out IoU", "sd", "n"]
    lines = [_line(head), _line(["---"] * len(head))]
    for rank, one in enumerate(summaries, 1):
        values = [shown(value).replace("|", "\\|") for _, value in one.point.settings]
        sd = "" if one.sd is None else f"{one.sd:.4f}"
        lines.append(_line([str(rank), *values, f"{one.mean:.4f}", sd, str(one.n)]))
    return "\n".join(lines) + "\n"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
