"""From a study to its jobs: no volume is read, and nothing is written.

    arm, not shared    base recipe + source.set + protocol.set + arm.set    PROTOCOL/ARM/seedN
    arm, shared        base recipe + source.set + arm.set                   SOURCE/ARM/seedN
    fine-tuning        base recipe + source.set + arm.set, its method,
                       target, validate and select dropped, + finetune.set  PROTOCOL/ARM-fFRACTION/seedN

The source is the protocol's; where it names none, nothing is laid for it, and SOURCE is `shared`. A shared
arm is trained on the sources of its protocols and of all that comes from it. `init` and `teacher` lead to the
arm's run of the same seed and protocol or, of a shared arm, source; they become init.run and
method.distil.teacher.

Of finished runs that jobs are or come from run.json is read, where they are there, for one purpose: to refuse
what has learned from the labels that it is tested on.

Paths in the recipes of jobs start from the folder that the recipe is written to, so that a study that lies in
the same place of another machine's copy of the project has the same recipes there.
"""

import os
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from dmn_runtime.errors import RecipeError
from dmn_train.recipe import parse_recipe
from dmn_train.study.dependence import in_order_of_dependence, sources_of
from dmn_train.study.job import Job
from dmn_train.study.labels import labels_under_test
from dmn_train.study.overlap import part_under_test
from dmn_train.study.placed import PlacedStudy
from dmn_train.study.sections import (
    SHARED,
    ArmSection,
    FinetuneSection,
    ProtocolSection,
    StudySourceSection,
    Table,
)

VOLUME_KEYS = ("image", "mask", "valid")
_START_KEYS: dict[str, Callable[[str], Table]] = {
    "init": lambda run: {"init": {"run": run}},
    "teacher": lambda run: {"method": {"distil": {"teacher": run}}},
}
"""Where a recipe names the run of an arm, by the arm's key."""


def plan_study(placed: PlacedStudy, output: Path) -> tuple[Job, ...]:
    """Return every job of a study, each after those it depends on.

    Args:
        placed: the study.
        output: folder of the study's runs.

    Raises:
        RecipeError: a recipe that the study makes is wrong, arms start from each other, or labels of the
            part that is tested are trained on.
        RunError: a finished run that a job is or comes from is damaged.
    """
    study, planner = placed.study, _Planner(placed, output.resolve())
    arms = in_order_of_dependence(placed)
    jobs = [job for seed in study.seeds for arm in arms for job in planner.jobs_of(arm, seed)]
    if study.finetune is not None:
        jobs += [job for seed in study.seeds for job in planner.finetuned(study.finetune, seed)]
    _check_labels(placed, tuple(jobs))
    return tuple(jobs)


def _check_labels(placed: PlacedStudy, jobs: tuple[Job, ...]) -> None:
    """Refuse training on labels that a protocol tests on."""
    recipes = {job.id: recipe for job in jobs if (recipe := job.placed) is not None}
    tests = {p.name: part_under_test(p.test, placed.folder) for p in placed.study.protocol}
    if (found := labels_under_test(jobs, recipes, tests)) is not None:
        raise RecipeError(f"{placed.path}: {found}")


@dataclass(frozen=True)
class _Setting:
    """What an arm is trained on; None: the base recipe's own source, no target."""

    source: StudySourceSection | None
    protocol: ProtocolSection | None

    def place(self, arm: ArmSection) -> str:
        """Return the first part of the ids of an arm's runs: of its own protocol, or shared."""
        if self.protocol is not None and not arm.is_shared:
            return self.protocol.name
        return self.shared_place

    @property
    def shared_place(self) -> str:
        """The first part of the ids of runs that all protocols on this source share."""
        return SHARED if self.source is None else self.source.name


class _Planner:
    """Makes jobs; `output` is absolute."""

    def __init__(self, placed: PlacedStudy, output: Path) -> None:
        self.placed = placed
        self.study = placed.study
        self.output = output

    def jobs_of(self, arm: ArmSection, seed: int) -> list[Job]:
        """Return the jobs of an arm and a seed: one a source, or one a protocol."""
        protocols = self.study.protocols_of(arm)
        if not arm.is_shared:
            return [self._job(arm, (protocol,), seed, self._setting(protocol)) for protocol in protocols]
        jobs = []
        for source in self._sources_of(arm):
            tested = tuple(protocol for protocol in protocols if protocol.source == source)
            jobs.append(self._job(arm, tested, seed, _Setting(self.study.source_named(source), None)))
        return jobs

    def _setting(self, protocol: ProtocolSection) -> _Setting:
        return _Setting(self.study.source_named(protocol.source), protocol)

    def _sources_of(self, arm: ArmSection) -> list[str | None]:
        sources = sources_of(self.study, arm)
        if arm.run is not None and len(sources) > 1 and "{source}" not in arm.run:
            raise RecipeError(
                f"{self.placed.path}: arm {arm.name} takes the same runs for protocols on several sources: "
                "put {source} into its run, or give it the protocols of one"
            )
        return sources

    def finetuned(self, section: FinetuneSection, seed: int) -> list[Job]:
        """Return the jobs of fine-tuning of a seed."""
        protocol = self.study.protocol_named(section.protocol)
        return [
            self._finetuned(section, self.study.arm_named(arm), protocol, fraction, seed)
            for arm in section.arms
            for fraction in section.fractions
        ]

    def _job(self, arm: ArmSection, tested: tuple[ProtocolSection, ...], seed: int, setting: _Setting) -> Job:
        names = tuple(protocol.name for protocol in tested)
        job_id = self._id(arm, setting, seed)
        if arm.run is not None:
            return Job(job_id, names, arm.name, None, seed, None, self._folder(arm, setting, seed), ())
        recipe = self._based(setting.source, setting.protocol, arm)
        return self._finished(job_id, names, arm, None, seed, recipe, arm.starts, setting)

    def _finetuned(
        self, section: FinetuneSection, arm: ArmSection, protocol: ProtocolSection, fraction: float, seed: int
    ) -> Job:
        if arm not in self.study.arms_of(protocol):
            raise RecipeError(
                f"{self.placed.path}: finetune.arms names {arm.name}, which takes no part in {protocol.name}"
            )
        setting = self._setting(protocol)
        recipe = self._based(setting.source, arm)
        recipe["method"] = {"name": "source_only"}
        recipe.get("data", {}).pop("target", None)
        recipe.pop("validate", None)  # it names slices of another volume
        recipe.pop("select", None)  # it may look at what has just been dropped
        recipe = lay_over(recipe, self._moved(section.set_, self.placed.folder))
        recipe = lay_over(recipe, {"data": {"source": {"fraction": fraction}}})
        job_id = f"{protocol.name}/{arm.name}-f{fraction:g}/seed{seed}"
        starts = {"init": arm.name}
        return self._finished(job_id, (protocol.name,), arm, fraction, seed, recipe, starts, setting)

    def _finished(
        self,
        job_id: str,
        protocols: tuple[str, ...],
        arm: ArmSection,
        fraction: float | None,
        seed: int,
        recipe: Table,
        starts: dict[str, str],
        setting: _Setting,
    ) -> Job:
        """Give a recipe its name, seed, start and teacher, check it, and place its paths."""
        folder = self.output / job_id
        recipe = lay_over(recipe, {"name": "-".join([self.study.name, *job_id.split("/")])})
        recipe = lay_over(recipe, {"loop": {"seed": seed}})
        self._check_teacher(job_id, recipe, taught="teacher" in starts)
        depends = []
        for key, name in starts.items():
            start = self.study.arm_named(name)
            recipe = lay_over(recipe, _START_KEYS[key](str(self._folder(start, setting, seed))))
            depends.append(self._id(start, setting, seed))
        recipe = _with_paths(recipe, lambda path: relative(path, folder.parent))
        parsed = parse_recipe(recipe, f"{self.placed.path}: {job_id}")
        if parsed.loop.devices > 1:
            raise RecipeError(
                f"{self.placed.path}: {job_id}: loop.devices is {parsed.loop.devices}, but a study trains "
                "every run on one device: set it to 1"
            )
        if setting.protocol is None and parsed.data.target:
            raise RecipeError(
                f"{self.placed.path}: {job_id} is shared, but its base recipe has a data.target"
            )
        return Job(job_id, protocols, arm.name, fraction, seed, recipe, folder, tuple(depends))

    def _check_teacher(self, job_id: str, recipe: Table, *, taught: bool) -> None:
        """Refuse a teacher that nobody hears, and a student without one or with one that is no arm."""
        method = _within(recipe, "method")
        learns = method.get("name") == "distil"
        if learns and not taught:
            raise RecipeError(
                f"{self.placed.path}: {job_id} has method distil and no teacher: "
                'name the arm that teaches it, teacher = "ARM"'
            )
        if taught and not learns:
            raise RecipeError(
                f"{self.placed.path}: {job_id} has a teacher, but its method is "
                f'{method.get("name", "source_only")}: set method.name = "distil", or remove teacher'
            )

    @staticmethod
    def _id(arm: ArmSection, setting: _Setting, seed: int) -> str:
        return f"{setting.place(arm)}/{arm.name}/seed{seed}"

    def _folder(self, arm: ArmSection, setting: _Setting, seed: int) -> Path:
        if arm.run is None:
            return self.output / self._id(arm, setting, seed)
        protocol = setting.protocol.name if setting.protocol else ""
        text = arm.run.replace("{seed}", str(seed)).replace("{protocol}", protocol)
        text = text.replace("{source}", setting.shared_place)
        return (self.placed.folder / text).resolve()

    def _based(self, *sections: StudySourceSection | ProtocolSection | ArmSection | None) -> Table:
        """Lay the keys of sections over the base recipe; all paths become absolute."""
        recipe = self._moved(self.placed.base, self.placed.recipe_folder)
        for section in sections:
            if section is not None:
                recipe = lay_over(recipe, self._moved(section.set_, self.placed.folder))
        return recipe

    @staticmethod
    def _moved(table: Table, folder: Path) -> Table:
        return _with_paths(table, lambda path: os.path.normpath(folder / path))


def relative(path: str, start: Path, system: ModuleType = os.path) -> str:
    """Return a path as it is from `start`, or as it was where no way leads there: to another drive.

    `system` is the module of path names, ntpath on Windows.
    """
    try:
        found: str = system.relpath(path, start)
    except ValueError:
        return path
    return found


def lay_over(table: Table, upper: Table) -> Table:
    """Lay `upper` over `table`, key by key; a `data.source` with an image replaces the one below whole."""
    return _lay(table, upper, ())


def _lay(table: Table, upper: Table, at: tuple[str, ...]) -> Table:
    if at == ("data", "source") and ("image" in upper or "phantom" in upper):
        return deepcopy(upper)  # what the keys below say is about another volume
    merged = deepcopy(table)
    for key, value in upper.items():
        below = merged.get(key)
        merged[key] = (
            _lay(below, value, (*at, key))
            if isinstance(below, dict) and isinstance(value, dict)
            else deepcopy(value)
        )
    return merged


def _with_paths(table: Table, change: Callable[[str], str]) -> Table:
    """Return a recipe with `change` made to every path in it."""
    changed = deepcopy(table)
    for section, key in _places_of_paths(changed):
        if isinstance(section.get(key), str):
            section[key] = change(section[key])
    return changed


def _places_of_paths(recipe: Table) -> Iterator[tuple[Table, str]]:
    """Yield every table of a recipe that may hold a path, and the path's key there."""
    for section in _volumes(_within(recipe, "data")):
        for key in VOLUME_KEYS:
            yield section, key
    yield _within(recipe, "init"), "run"
    yield _within(recipe, "method", "distil"), "teacher"


def _within(table: Table, *keys: str) -> Table:
    """Return a table in a table; an empty one where there is none, which the recipe's check will judge."""
    for key in keys:
        found = table.get(key)
        table = found if isinstance(found, dict) else {}
    return table


def _volumes(data: Table) -> list[Table]:
    """Return the tables of a recipe's data section that name a volume."""
    target = data.get("target", [])
    sections = [data.get("source"), *(target if isinstance(target, list) else [target])]
    return [section for section in sections if isinstance(section, dict)]
