"""From a study to its jobs: no volume and no run is read, and nothing is written.

    arm, not shared    base recipe + protocol.set + arm.set             PROTOCOL/ARM/seedN
    arm, shared        base recipe + arm.set                            shared/ARM/seedN
    fine-tuning        base recipe + arm.set, its method, target,
                       validate and select dropped, + finetune.set      PROTOCOL/ARM-fFRACTION/seedN

Paths in the recipes of jobs start from the folder that the recipe is written to, so that a study that lies in
the same place of another machine's copy of the project has the same recipes there.
"""

import os
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from types import ModuleType

from dmn_runtime.errors import RecipeError
from dmn_train.recipe import parse_recipe
from dmn_train.study.job import Job
from dmn_train.study.overlap import labelled_part, part_under_test
from dmn_train.study.placed import PlacedStudy
from dmn_train.study.sections import SHARED, ArmSection, FinetuneSection, ProtocolSection, Table

VOLUME_KEYS = ("image", "mask", "valid")


def plan_study(placed: PlacedStudy, output: Path) -> tuple[Job, ...]:
    """Return every job of a study, each after those it depends on.

    Args:
        placed: the study.
        output: folder of the study's runs.

    Raises:
        RecipeError: a recipe that the study makes is wrong, arms start from each other, or labels of the
            part that is tested are trained on.
    """
    study, planner = placed.study, _Planner(placed, output.resolve())
    arms = _in_order_of_dependence(placed)
    jobs = [job for seed in study.seeds for arm in arms for job in planner.jobs_of(arm, seed)]
    if study.finetune is not None:
        jobs += [job for seed in study.seeds for job in planner.finetuned(study.finetune, seed)]
    return tuple(jobs)


def _in_order_of_dependence(placed: PlacedStudy) -> list[ArmSection]:
    study = placed.study
    ordered: list[ArmSection] = []
    waiting = list(study.arm)
    while waiting:
        ready = [arm for arm in waiting if arm.init is None or study.arm_named(arm.init) in ordered]
        if not ready:
            names = " and ".join(arm.name for arm in waiting)
            raise RecipeError(f"{placed.path}: the arms {names} start from each other: change an init")
        ordered += ready
        waiting = [arm for arm in waiting if arm not in ready]
    for arm in ordered:
        _check_start(placed, arm)
    return ordered


def _check_start(placed: PlacedStudy, arm: ArmSection) -> None:
    """Refuse a start from a run that will not be there."""
    if arm.init is None:
        return
    start = placed.study.arm_named(arm.init)
    if arm.shared and not start.is_shared:
        raise RecipeError(
            f"{placed.path}: arm {arm.name} is shared, so its init {start.name} must be shared too"
        )
    if start.is_shared or start.protocols is None:
        return
    missing = [p.name for p in placed.study.protocol if arm in placed.study.arms_of(p)]
    missing = [name for name in missing if name not in (start.protocols or ())]
    if missing:
        raise RecipeError(
            f"{placed.path}: arm {arm.name} starts from {start.name}, which leaves out {missing[0]}: "
            "give both the same protocols"
        )


class _Planner:
    """Makes jobs; `output` is absolute."""

    def __init__(self, placed: PlacedStudy, output: Path) -> None:
        self.placed = placed
        self.study = placed.study
        self.output = output

    def jobs_of(self, arm: ArmSection, seed: int) -> list[Job]:
        """Return the jobs of an arm and a seed: one, or one a protocol."""
        protocols = [p for p in self.study.protocol if arm in self.study.arms_of(p)]
        if arm.is_shared:
            return [self._job(arm, tuple(protocols), seed, None)]
        return [self._job(arm, (protocol,), seed, protocol) for protocol in protocols]

    def finetuned(self, section: FinetuneSection, seed: int) -> list[Job]:
        """Return the jobs of fine-tuning of a seed."""
        protocol = self.study.protocol_named(section.protocol)
        return [
            self._finetuned(section, self.study.arm_named(arm), protocol, fraction, seed)
            for arm in section.arms
            for fraction in section.fractions
        ]

    def _job(
        self, arm: ArmSection, tested: tuple[ProtocolSection, ...], seed: int, own: ProtocolSection | None
    ) -> Job:
        names = tuple(protocol.name for protocol in tested)
        job_id = self._id(arm, own, seed)
        if arm.run is not None:
            return Job(job_id, names, arm.name, None, seed, None, self._folder(arm, own, seed), ())
        recipe = self._based(*([own.set_] if own else []), arm_set=arm.set_)
        starts = self.study.arm_named(arm.init) if arm.init else None
        return self._finished(job_id, names, arm, None, seed, recipe, starts, own)

    def _finetuned(
        self, section: FinetuneSection, arm: ArmSection, protocol: ProtocolSection, fraction: float, seed: int
    ) -> Job:
        if arm not in self.study.arms_of(protocol):
            raise RecipeError(
                f"{self.placed.path}: finetune.arms names {arm.name}, which takes no part in {protocol.name}"
            )
        recipe = self._based(arm_set=arm.set_)
        recipe["method"] = {"name": "source_only"}
        recipe.get("data", {}).pop("target", None)
        recipe.pop("validate", None)  # it names slices of another volume
        recipe.pop("select", None)  # it may look at what has just been dropped
        recipe = lay_over(recipe, self._moved(section.set_, self.placed.folder))
        recipe = lay_over(recipe, {"data": {"source": {"fraction": fraction}}})
        job_id = f"{protocol.name}/{arm.name}-f{fraction:g}/seed{seed}"
        job = self._finished(job_id, (protocol.name,), arm, fraction, seed, recipe, arm, protocol)
        self._check_labels(job, protocol)
        return job

    def _check_labels(self, job: Job, protocol: ProtocolSection) -> None:
        """Refuse training on labels that the protocol tests on."""
        labelled = labelled_part(job.placed) if job.placed else None
        if labelled is not None and labelled.overlaps(part_under_test(protocol.test, self.placed.folder)):
            raise RecipeError(
                f"{self.placed.path}: {job.id} has labels of the part of {protocol.test.image} that "
                f"{protocol.name} tests on: give finetune.set.data.source other slices or columns"
            )

    def _finished(
        self,
        job_id: str,
        protocols: tuple[str, ...],
        arm: ArmSection,
        fraction: float | None,
        seed: int,
        recipe: Table,
        start: ArmSection | None,
        own: ProtocolSection | None,
    ) -> Job:
        """Give a recipe its name, seed and start, check it, and place its paths."""
        folder = self.output / job_id
        recipe = lay_over(recipe, {"name": "-".join([self.study.name, *job_id.split("/")])})
        recipe = lay_over(recipe, {"loop": {"seed": seed}})
        depends: tuple[str, ...] = ()
        if start is not None:
            recipe = lay_over(recipe, {"init": {"run": str(self._folder(start, own, seed))}})
            depends = (self._id(start, own, seed),)
        recipe = _with_paths(recipe, lambda path: relative(path, folder.parent))
        parsed = parse_recipe(recipe, f"{self.placed.path}: {job_id}")
        if parsed.loop.devices > 1:
            raise RecipeError(
                f"{self.placed.path}: {job_id}: loop.devices is {parsed.loop.devices}, but a study trains "
                "every run on one device: set it to 1"
            )
        if own is None and parsed.data.target:
            raise RecipeError(
                f"{self.placed.path}: {job_id} is shared, but its base recipe has a data.target"
            )
        return Job(job_id, protocols, arm.name, fraction, seed, recipe, folder, depends)

    def _id(self, arm: ArmSection, protocol: ProtocolSection | None, seed: int) -> str:
        place = SHARED if arm.is_shared or protocol is None else protocol.name
        return f"{place}/{arm.name}/seed{seed}"

    def _folder(self, arm: ArmSection, protocol: ProtocolSection | None, seed: int) -> Path:
        if arm.run is None:
            return self.output / self._id(arm, protocol, seed)
        text = arm.run.replace("{seed}", str(seed)).replace("{protocol}", protocol.name if protocol else "")
        return (self.placed.folder / text).resolve()

    def _based(self, *sets: Table, arm_set: Table) -> Table:
        """Lay tables over the base recipe; all paths become absolute."""
        recipe = self._moved(self.placed.base, self.placed.recipe_folder)
        for table in (*sets, arm_set):
            recipe = lay_over(recipe, self._moved(table, self.placed.folder))
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
    data, init = changed.get("data"), changed.get("init")
    for section in _volumes(data) if isinstance(data, dict) else []:
        for key in VOLUME_KEYS:
            if isinstance(section.get(key), str):
                section[key] = change(section[key])
    if isinstance(init, dict) and isinstance(init.get("run"), str):
        init["run"] = change(init["run"])
    return changed


def _volumes(data: Table) -> list[Table]:
    """Return the tables of a recipe's data section that name a volume."""
    target = data.get("target", [])
    sections = [data.get("source"), *(target if isinstance(target, list) else [target])]
    return [section for section in sections if isinstance(section, dict)]
