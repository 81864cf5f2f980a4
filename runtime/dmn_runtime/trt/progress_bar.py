"""A build's progress on a terminal; silent elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from dmn_runtime.trt.progress import Progress, Report, ignore


@contextmanager
def building(what: str) -> Iterator[Report]:
    """Offer a callback that shows how far the build of `what` is, on stderr."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield ignore
        return
    columns = (
        TextColumn("building {task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=1.0)

        def report(progress: Progress) -> None:
            bar.update(task, completed=progress.fraction)

        yield report
