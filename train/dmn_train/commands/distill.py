"""`dmn distill`: teach a student of another size what an adapted run says of its target."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from dmn_train.commands.told import tell_alarms, train_and_tell
from dmn_train.finish import Outcome
from dmn_train.networks.cost import multiply_adds_per_px
from dmn_train.networks.sizes import size_name
from dmn_train.run import Run, load_run
from dmn_train.student.agreement import TILES, agreement, target_tiles
from dmn_train.student.plan import STEPS, student_recipe


def command(
    run: Annotated[Path, typer.Argument(help="The teacher: folder of a finished, adapted run.")],
    student: Annotated[Literal["s8", "s16", "s32"], typer.Option(help="Size of the student.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The run folder to write.")],
    steps: Annotated[int, typer.Option(min=1, help="Steps of the optimiser.")] = STEPS,
    init: Annotated[
        Path | None,
        typer.Option(help="A finished run of such a student to start from; at random if not given."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="In place of a key of the recipe; may be repeated."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Drop a former run in the folder.")] = False,
) -> None:
    """Teach a small network what an adapted one says of its target volume; no label of the target is read.

    The recipe is made from the teacher's and stands in the run folder (docs/distillation.md).
    """
    teacher = load_run(run)
    placed = student_recipe(teacher, student, steps=steps, init=init, overrides=tuple(set_ or []))
    outcome = train_and_tell(placed, output, resume=resume, overwrite=overwrite)
    if outcome.leads:
        tell_alarms(outcome.alarms)
        typer.echo(_summary(teacher, load_run(output), outcome))


def _summary(teacher: Run, student: Run, outcome: Outcome) -> str:
    tiles = target_tiles(student.placed)
    agreed = agreement(
        teacher.network(), student.network(), tiles, thresholds=(teacher.threshold, student.threshold)
    )
    costs = [multiply_adds_per_px(one.spec) for one in (teacher, student)]
    held_out = "" if outcome.iou is None else f", held-out source fg IoU {outcome.iou:.4f}"
    return "\n".join(
        [
            f"{student.folder}: {outcome.steps} steps in {outcome.wall_s:.0f} s, loss {outcome.loss:.4f}"
            f"{held_out}",
            f"multiply-adds per pixel: teacher {size_name(teacher.spec)} {costs[0]:,.0f}, "
            f"student {size_name(student.spec)} {costs[1]:,.0f} ({costs[1] / costs[0]:.1%})",
            f"agreement with the teacher: IoU {agreed.iou:.3f} of their masks on {TILES} tiles of the target "
            "(no label is read: it says how well the student copies, not how right the teacher is)",
            f"next: dmn export {student.folder} -o {student.name}.zip",
        ]
    )
