"""An adaptation from two volumes to a package: look, plan, estimate, train what is left, pack, judge."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from dmn_export.adapt.alarm_words import alarm_words
from dmn_export.adapt.bound import bound_words
from dmn_export.adapt.busy import busy_now
from dmn_export.adapt.estimate import estimate_words
from dmn_export.adapt.foresee import foresee
from dmn_export.adapt.made_up import phantom_words
from dmn_export.adapt.memory import check_memory
from dmn_export.adapt.plan import MEANING, Plan, Stage, plan_stages
from dmn_export.adapt.quality import Finding, findings, measure_signs
from dmn_export.adapt.quality_report import Alarm, write_quality
from dmn_export.adapt.target_parts import parts_words
from dmn_export.adapt.timing import Seconds
from dmn_export.adapt.volume_words import volume_words
from dmn_export.adapt.volumes import Volumes, look_at
from dmn_export.adapt.wishes import AdaptWishes
from dmn_export.adapt.work import StageState, begin_work, check_work, record_of, states
from dmn_export.certify import Timer
from dmn_export.pipeline import Wishes, export_run
from dmn_runtime.archive import check_output
from dmn_runtime.engines.trial import timed
from dmn_runtime.errors import PackageError
from dmn_runtime.package import Package, open_package
from dmn_train.finish import Outcome
from dmn_train.loop import train
from dmn_train.recipe import PlacedRecipe
from dmn_train.run import Run, load_run

Say = Callable[[str], None]
Train = Callable[[PlacedRecipe, Path, bool], Outcome]


@dataclass(frozen=True)
class Adapted:
    """What came of an adaptation.

    Attributes:
        package: certified.
        refused: a sentence for each precision and engine that was left out.
        findings: on its quality, without labels.
        alarms: of the trainings.
        quality: the report's file.
    """

    package: Package
    refused: tuple[str, ...]
    findings: tuple[Finding, ...]
    alarms: tuple[Alarm, ...]
    quality: Path


def train_quietly(placed: PlacedRecipe, folder: Path, resume: bool) -> Outcome:
    """Train without a word on the way."""
    return train(placed, folder, resume=resume)


def adapt(
    wishes: AdaptWishes,
    output: Path,
    work: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    say: Say = lambda _: None,
    begun: Callable[[], None] = lambda: None,
    train_stage: Train = train_quietly,
    seconds: Seconds = perf_counter,
    timer: Timer = timed,
) -> Adapted:
    """Adapt a network from a labelled volume to an unlabelled one and pack it.

    Everything that the user may have got wrong is found before anything is written.

    Args:
        wishes: of the user.
        output: the package, NAME.zip.
        work: folder of the runs; it is kept.
        resume: go on with what is there; finished stages are not trained again.
        overwrite: begin anew, and replace the package; with `resume` replace the package alone.
        say: takes sentences for people.
        begun: called when nothing was refused; before, nothing is written or removed.
        train_stage: trains (recipe, folder, resume).
        seconds: the clock of the estimate.
        timer: times runners for the certificates.

    Raises:
        DmnError: the user's to mend; one sentence.
        KeyboardInterrupt: stopped; the same call with `resume` goes on.
    """
    volumes = look_at(wishes)
    base = None if wishes.init is None else load_run(wishes.init)
    plan = plan_stages(wishes, volumes, output.stem, work, base)
    record = record_of(wishes, volumes, output)
    check_work(work, record, volumes.fingerprints, resume=resume, overwrite=overwrite)
    so_far = states(plan, resume=resume)
    packed = resume and not overwrite and _is_packed(output, plan, so_far)
    if not packed:
        check_output(output, overwrite)
    check_memory(plan, volumes)
    _tell_plan(plan, wishes, volumes, say)
    if not packed:
        busy = busy_now()
        if busy is not None:
            say(busy)
        say("timing a little of everything on this machine")
        say(estimate_words(foresee(plan, so_far, seconds)))
    begun()
    begin_work(work, record, volumes.fingerprints, resume=resume)
    for number, (stage, state) in enumerate(zip(plan.stages, so_far, strict=True), start=1):
        heading = f"stage {number} of {len(plan.stages)}, {stage.name}: {MEANING[stage.name]}"
        if state.finished:
            say(f"{heading}: done before")
            continue
        say(heading + (f", from step {state.done} on" if state.begun else "") + _drawn_first(stage))
        train_stage(stage.placed, stage.folder, state.begun)
    final = load_run(plan.final)
    package, refused = _pack(final, output, overwrite, say, timer)
    say("looking at what it does to the target, without labels")
    signs = measure_signs(final, load_run(plan.adapted))
    found, alarms = findings(signs), _alarms(plan)
    return Adapted(package, refused, found, alarms, write_quality(package, signs, found, alarms))


def _drawn_first(stage: Stage) -> str:
    """Return what a stage does for a minute or more before its first step."""
    extra = stage.placed.recipe.data.extra
    return "" if extra is None else f"; first {extra.count} made-up volumes are drawn"


def _tell_plan(plan: Plan, wishes: AdaptWishes, volumes: Volumes, say: Say) -> None:
    """Say what was understood, and what was decided without the user's word."""
    for sentence in volume_words(volumes):
        say(sentence)
    say(phantom_words(plan.stages[0].placed.recipe, wishes.phantoms))
    told = bound_words(plan.stages[-1].placed.recipe)
    if told is not None:
        say(told)
    read = parts_words(volumes.target_shape, plan.parts, wishes.target_slices)
    if read is not None:
        say(read)


def _is_packed(output: Path, plan: Plan, so_far: list[StageState]) -> bool:
    """Tell whether the package is there and holds what the last stage left."""
    return all(state.finished for state in so_far) and _holds(output, load_run(plan.final))


def _holds(output: Path, run: Run) -> bool:
    if not output.is_file():
        return False
    try:
        contract = open_package(output).contract
    except PackageError:
        return False
    made_of = contract.provenance.get("run")
    same = isinstance(made_of, dict) and made_of.get("weights_sha256") == run.facts["weights_sha256"]
    return same and contract.threshold == run.threshold


def _pack(
    final: Run, output: Path, overwrite: bool, say: Say, timer: Timer
) -> tuple[Package, tuple[str, ...]]:
    """Export the run with its certificates, unless that was done before and is to stay."""
    if not overwrite and _holds(output, final):
        say(f"{output}: packed before")
        return open_package(output), ()
    wishes = Wishes(overwrite=overwrite, description=_description(final))
    exported = export_run(final, output, wishes, say, timer)
    return exported.package, exported.refused


def _description(final: Run) -> str:
    """Return one sentence on what the package is of; files by name alone."""
    by_role = {origin["role"]: Path(origin["name"].partition("::")[0]).name for origin in final.facts["data"]}
    made_up = " and made-up volumes" if final.placed.recipe.data.extra is not None else ""
    return (
        f"{final.class_name} segmentation, learned from {by_role['source']}{made_up} and adapted without "
        f"labels to {by_role['target']}."
    )


def _alarms(plan: Plan) -> tuple[Alarm, ...]:
    return tuple(
        Alarm(stage.name, alarm_words(sentence), sentence)
        for stage in plan.stages
        for sentence in load_run(stage.folder).facts["alarms"]
    )
