"""The tables of a study file (docs/study.md lists the keys)."""

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from dmn_train.named import Named
from dmn_train.sections import Index, Nanometres, Section, SliceRange
from dmn_train.study.report_sections import OTHERS, QualitativeSection, TableSection

SHARED = "shared"
"""Stands for the protocol in the ids of runs that every protocol on the recipe's own source tests."""

Table = dict[str, Any]
Fraction = Annotated[float, Field(gt=0.0, le=1.0)]


class TestSection(Section):
    """The labelled volume that a protocol tests on; no training ever reads it as such.

    Attributes:
        image: path of the volume.
        mask: path of its labels, read as `dmn evaluate` reads them.
        voxel_nm: voxel size, zyx; wanted where the file does not say it.
        slices: [first, one past the last] slice on the z axis that counts.
        columns: likewise on the x axis, raw px.
    """

    __test__ = False  # the name is no test's

    image: str
    mask: str
    voxel_nm: Nanometres | None = None
    slices: SliceRange | None = None
    columns: SliceRange | None = None

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        for key, span in (("slices", self.slices), ("columns", self.columns)):
            if span is not None and span[0] >= span[1]:
                raise ValueError(f"{key} must be [first, one past the last]")
        return self


class StudySourceSection(Named):
    """Another labelled source than the base recipe's, for the protocols that name it.

    Attributes:
        name: of files; it stands for the protocol in the ids of shared runs.
        set: recipe keys laid over the base recipe's, below the protocol's and the arm's; as a rule
            `data.source`.
    """

    set_: Annotated[Table, Field(alias="set", default_factory=dict)]

    @model_validator(mode="after")
    def _no_target(self) -> Self:
        if "target" in self.set_.get("data", {}):
            raise ValueError(f"source {self.name} has no data.target: give it to the protocols")
        return self


class ProtocolSection(Named):
    """What is adapted to and what is tested on.

    Attributes:
        name: of files and tables.
        words: the same for people.
        source: the labelled source that its arms are trained on; None is the base recipe's.
        set: recipe keys laid over those of every arm that is not shared; as a rule `data.target`.
        test: the labelled test volume.
        published: figures of others, 0 to 1, by arm.
        published_words: where they are from and how their protocol differs.
    """

    words: str = ""
    source: str | None = None
    set_: Annotated[Table, Field(alias="set", default_factory=dict)]
    test: TestSection
    published: Annotated[dict[str, float], Field(default_factory=dict)]
    published_words: str = ""


class ArmSection(Named):
    """One way to train.

    Attributes:
        name: of files and tables.
        label: the same for people.
        shared: the arm does not look at the target: trained once a seed and source, tested in every protocol.
        init: an arm whose run of the same seed (and protocol or, if shared, source) gives the first weights.
        teacher: likewise an arm whose run teaches it; it goes with method distil.
        run: finished run folders that are taken as they are, `{seed}`, `{protocol}` and `{source}` filled in.
        protocols: those that the arm takes part in; None is all.
        set: recipe keys laid over the base recipe.
    """

    label: str = ""
    shared: bool = False
    init: str | None = None
    teacher: str | None = None
    run: str | None = None
    protocols: tuple[str, ...] | None = None
    set_: Annotated[Table, Field(alias="set", default_factory=dict)]

    @model_validator(mode="after")
    def _no_target_where_shared(self) -> Self:
        if self.shared and "target" in self.set_.get("data", {}):
            raise ValueError(f"arm {self.name} is shared and so has no data.target: remove one of the two")
        if self.run is not None and (self.starts or self.set_):
            raise ValueError(f"arm {self.name} takes finished runs (run): remove init, teacher and set")
        return self

    @property
    def starts(self) -> dict[str, str]:
        """The arms whose runs must be there before its own, by the key that names them."""
        given = {"init": self.init, "teacher": self.teacher}
        return {key: name for key, name in given.items() if name is not None}

    @property
    def words(self) -> str:
        """The arm for people."""
        return self.label or self.name

    @property
    def is_shared(self) -> bool:
        """Tell whether one run a seed serves every protocol on the same source."""
        return self.shared or (self.run is not None and "{protocol}" not in self.run)


class FinetuneSection(Section):
    """Training on a part of the target's labels, from the runs of arms.

    Attributes:
        protocol: whose runs are gone on from and whose test volume is tested on.
        arms: the arms.
        fractions: shares of the labelled slices, `data.source.fraction`.
        set: recipe keys laid over the arm's, `data.source` among them; `data.target`, the arm's method and
            `validate` are dropped first.
    """

    protocol: str
    arms: Annotated[tuple[str, ...], Field(min_length=1)]
    fractions: Annotated[tuple[Fraction, ...], Field(min_length=1)]
    set_: Annotated[Table, Field(alias="set")]


class Study(Named):
    """The whole study file.

    Attributes:
        name: of the report's files.
        title: heading of the report.
        intro: Markdown at its head.
        footnote: Markdown at its end.
        recipe: path of the base recipe.
        baseline: the arm that the others are compared with.
        beside: a second arm that they are compared with, if any.
        seeds: one run of everything for each.
        source: labelled sources beside the base recipe's, if any.
        protocol: the protocols.
        arm: the arms.
        finetune: fine-tuning, if any.
        table: tables of the report; without any there is one of all arms.
        qualitative: the page of single slices, if any.
        structures: whether objects and boundaries are scored beside voxels.
    """

    title: str = ""
    intro: str = ""
    footnote: str = ""
    recipe: str
    baseline: str
    beside: str | None = None
    seeds: Annotated[tuple[Index, ...], Field(min_length=1)]
    source: tuple[StudySourceSection, ...] = ()
    protocol: Annotated[tuple[ProtocolSection, ...], Field(min_length=1)]
    arm: Annotated[tuple[ArmSection, ...], Field(min_length=1)]
    finetune: FinetuneSection | None = None
    table: tuple[TableSection, ...] = ()
    qualitative: QualitativeSection | None = None
    structures: bool = False

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        arms, protocols = [a.name for a in self.arm], [p.name for p in self.protocol]
        sources = [s.name for s in self.source]
        for kind, names in (
            ("seeds", self.seeds),
            ("arm", arms),
            ("protocol", protocols),
            ("source", sources),
        ):
            twice = [name for name in names if list(names).count(name) > 1]
            if twice:
                raise ValueError(f"{kind} {twice[0]} is there twice: give each one a name of its own")
        for protocol in self.protocol if any(arm.is_shared for arm in self.arm) else ():
            if not {f"data.{key}" for key in protocol.set_.get("data", {})} | set(protocol.set_) <= {
                "data",
                "data.target",
            }:
                raise ValueError(
                    f"protocol {protocol.name} sets more than data.target, which shared arms would not hear: "
                    "move it into the recipe, a source or the arms"
                )
        self._places_differ(protocols, sources)
        self._known("baseline", [self.baseline], arms)
        self._known("beside", [self.beside] if self.beside else [], arms)
        if self.beside == self.baseline:
            raise ValueError(f"beside is {self.beside}, the baseline: name another arm, or remove it")
        for arm in self.arm:
            for key, start in arm.starts.items():
                self._known(f"arm {arm.name}: {key}", [start], arms)
            self._known(f"arm {arm.name}: protocols", arm.protocols or (), protocols)
        for protocol in self.protocol:
            self._known(f"protocol {protocol.name}: published", tuple(protocol.published), arms)
            self._known(
                f"protocol {protocol.name}: source", [protocol.source] if protocol.source else [], sources
            )
        if self.finetune is not None:
            self._known("finetune.arms", self.finetune.arms, arms)
            self._known("finetune.protocol", [self.finetune.protocol], protocols)
        self._report_fits(arms, protocols)
        return self

    def _report_fits(self, arms: list[str], protocols: list[str]) -> None:
        names = [table.name for table in self.table]
        for table in self.table:
            key = f"table {table.name}"
            if names.count(table.name) > 1:
                raise ValueError(f"{key} is there twice: give each one a name of its own")
            if table.name == OTHERS:
                raise ValueError(f"{key} has the name of the arms in no table: choose another")
            self._known(f"{key}: arms", table.arms, arms)
            self._known(f"{key}: baseline", [table.baseline] if table.baseline else [], arms)
            self._known(f"{key}: beside", [table.beside] if table.beside else [], arms)
            self._known(f"{key}: protocols", table.protocols or (), protocols)
        if self.qualitative is None:
            return
        self._known("qualitative.arms", self.qualitative.arms, arms)
        for remark in self.qualitative.remark:
            self._known("qualitative.remark.protocol", [remark.protocol], protocols)
        if self.qualitative.seed not in self.seeds:
            raise ValueError(
                f"qualitative.seed is {self.qualitative.seed}, seeds are {', '.join(map(str, self.seeds))}"
            )

    @staticmethod
    def _places_differ(protocols: list[str], sources: list[str]) -> None:
        """Refuse names by which runs of two kinds would have one folder."""
        for kind, names in (("protocol", protocols), ("source", sources)):
            if SHARED in names:
                raise ValueError(f"{kind} {SHARED} has the name of what all protocols share: choose another")
        for name in sources:
            if name in protocols:
                raise ValueError(f"source {name} has the name of a protocol: choose another")

    @staticmethod
    def _known(key: str, given: "tuple[str, ...] | list[str]", known: list[str]) -> None:
        for name in given:
            if name not in known:
                raise ValueError(f"{key} names {name}, known are {', '.join(known) or 'none'}")

    @property
    def compared_with(self) -> tuple[str, ...]:
        """The arms that each other arm is compared with, by name."""
        return (self.baseline,) if self.beside is None else (self.baseline, self.beside)

    def arm_named(self, name: str) -> ArmSection:
        """Return an arm."""
        return next(arm for arm in self.arm if arm.name == name)

    def protocol_named(self, name: str) -> ProtocolSection:
        """Return a protocol."""
        return next(protocol for protocol in self.protocol if protocol.name == name)

    def source_named(self, name: str | None) -> StudySourceSection | None:
        """Return a source; None for the base recipe's own, which has no name."""
        return next((source for source in self.source if source.name == name), None)

    def protocols_of(self, arm: ArmSection) -> list[ProtocolSection]:
        """Return the protocols that an arm takes part in, in the study's order."""
        return [protocol for protocol in self.protocol if arm in self.arms_of(protocol)]

    def arms_of(self, protocol: ProtocolSection) -> list[ArmSection]:
        """Return the arms that take part in a protocol, in the study's order."""
        return [arm for arm in self.arm if arm.protocols is None or protocol.name in arm.protocols]
