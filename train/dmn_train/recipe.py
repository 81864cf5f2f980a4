"""A recipe: one TOML file that says everything about a run (docs/training.md lists the keys)."""

import json
import os
import re
import tomllib
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from dmn_runtime.contract import Normalisation
from dmn_runtime.errors import RecipeError
from dmn_train.networks.sizes import SIZES, NetworkSpec

MOST_CLASS_NAME_CHARS = 60
FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
Count = Annotated[int, Field(ge=1)]
Index = Annotated[int, Field(ge=0)]
Nanometres = tuple[Positive, Positive, Positive]
SliceRange = tuple[Index, Index]


class Section(BaseModel):
    """A table of the recipe: unknown keys are refused, types are not bent, values do not change."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class NetworkSection(Section):
    """The network: a named student, or `base` and `levels`."""

    name: Literal["s8", "s16", "s32"] | None = None
    base: Annotated[int, Field(ge=1, le=256)] | None = None
    levels: Annotated[int, Field(ge=1, le=6)] | None = None
    context_slices: Annotated[int, Field(ge=0, le=8)] = 0

    @model_validator(mode="after")
    def _name_or_numbers(self) -> Self:
        numbers = [self.base is not None, self.levels is not None]
        if any(numbers) if self.name is not None else not all(numbers):
            raise ValueError("wanted either name or both base and levels")
        return self

    @property
    def spec(self) -> NetworkSpec:
        """The facts that define the network."""
        if self.name is not None:
            named = SIZES[self.name]
            return NetworkSpec(named.base, named.levels, self.context_slices)
        assert self.base is not None
        assert self.levels is not None
        return NetworkSpec(self.base, self.levels, self.context_slices)


class PhantomSection(Section):
    """Made-up volumes with their truth (`dmn_runtime.phantom`): `count` seeds, starting at `seed`."""

    count: Count = 8
    shape: tuple[Count, Count, Count] = (8, 256, 256)
    voxel_nm: Positive = 10.0
    seed: Index = 1000


class SourceSection(Section):
    """The labelled volume: files, or phantoms."""

    image: str | None = None
    mask: str | None = None
    valid: str | None = None
    voxel_nm: Nanometres | None = None
    slices: SliceRange | None = None
    phantom: PhantomSection | None = None

    @model_validator(mode="after")
    def _files_or_phantom(self) -> Self:
        files = [self.image is not None, self.mask is not None]
        if self.phantom is not None:
            others = [self.valid, self.voxel_nm, self.slices]
            if any(files) or any(other is not None for other in others):
                raise ValueError("phantom stands alone: remove the keys beside it")
        elif not all(files):
            raise ValueError("wanted both image and mask, or phantom")
        if self.slices is not None and self.slices[0] >= self.slices[1]:
            raise ValueError("slices must be [first, one past the last]")
        return self


class TargetSection(Section):
    """The unlabelled volume that the network is meant for."""

    image: str
    voxel_nm: Nanometres | None = None
    slices: SliceRange | None = None


class DataSection(Section):
    """What is trained on."""

    source: SourceSection
    target: TargetSection | None = None


class NormalisationSection(Section):
    """Percentiles that become -1 and 1, and where values are cut off."""

    low_percent: Annotated[float, Field(ge=0.0, lt=50.0)] = 1.0
    high_percent: Annotated[float, Field(gt=50.0, le=100.0)] = 99.0
    clip: Annotated[float, Field(ge=1.0)] = 2.0

    @property
    def rule(self) -> Normalisation:
        """The rule as the package's contract has it."""
        return Normalisation(self.low_percent, self.high_percent, self.clip)


class MethodSection(Section):
    """The training method and its options."""

    name: Literal["source_only"] = "source_only"
    dice_weight: Annotated[float, Field(ge=0.0)] = 1.0
    histogram_matching: Share = 0.0


class AugmentSection(Section):
    """How often (probability per crop) and how strongly crops are changed.

    Attributes:
        flip: flips and quarter turns, all eight alike.
        rotate_degrees: largest turn beyond those, either way.
        scale: largest zoom factor, in or out; 1 is none.
        warp: probability of turn and zoom.
        elastic: probability of a smooth displacement.
        elastic_px: standard deviation of that displacement.
        strength: of all changes of intensity together: 0 none, 1 strong.
    """

    flip: bool = True
    warp: Share = 0.5
    rotate_degrees: Annotated[float, Field(ge=0.0, le=180.0)] = 45.0
    scale: Annotated[float, Field(ge=1.0, le=2.0)] = 1.25
    elastic: Share = 0.3
    elastic_px: Annotated[float, Field(ge=0.0, le=32.0)] = 3.0
    strength: Annotated[float, Field(ge=0.0, le=2.0)] = 1.0


class OptimiserSection(Section):
    """AdamW, its schedule and the average of weights."""

    lr: Positive = 2e-3
    weight_decay: Annotated[float, Field(ge=0.0)] = 1e-2
    schedule: Literal["cosine", "poly"] = "cosine"
    warmup_steps: Index = 50
    clip_norm: Positive = 1.0
    ema_decay: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.99


class LoopSection(Section):
    """How long, how much at once, and how often something is written."""

    steps: Count = 2000
    batch: Count = 8
    crop_px: Annotated[int, Field(ge=8, le=2048)] = 192
    foreground_share: Share = 0.5
    seed: Index = 0
    checkpoint_every: Count = 200
    validate_every: Count = 250
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"


class ValidateSection(Section):
    """Labelled source data held out for the curves: slices of the volume, or as many other phantoms."""

    slices: SliceRange | None = None
    phantoms: Count | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.slices is None) == (self.phantoms is None):
            raise ValueError("wanted either slices or phantoms")
        if self.slices is not None and self.slices[0] >= self.slices[1]:
            raise ValueError("slices must be [first, one past the last]")
        return self


class LogSection(Section):
    """How the run is followed."""

    every: Count = 25
    overlays: Index = 3
    tensorboard: bool = False


class Recipe(Section):
    """The whole recipe."""

    name: str
    description: str = ""
    class_name: str = "mitochondrion"
    working_voxel_nm: Positive | None = None
    network: NetworkSection
    data: DataSection
    normalisation: NormalisationSection = NormalisationSection()
    method: MethodSection = MethodSection()
    augment: AugmentSection = AugmentSection()
    optimiser: OptimiserSection = OptimiserSection()
    loop: LoopSection = LoopSection()
    validate_: Annotated[ValidateSection | None, Field(alias="validate")] = None
    log: LogSection = LogSection()

    @field_validator("name")
    @classmethod
    def _fit_for_a_file(cls, name: str) -> str:
        if not FILE_NAME.fullmatch(name):
            raise ValueError(f"{name!r} names no file, wanted letters, digits, dots, dashes and underscores")
        return name

    @field_validator("class_name")
    @classmethod
    def _fit_for_a_package(cls, name: str) -> str:
        if not 1 <= len(name) <= MOST_CLASS_NAME_CHARS or not name.isprintable() or name != name.strip():
            raise ValueError(
                f"{name!r} names no class, wanted 1 to {MOST_CLASS_NAME_CHARS} printable characters "
                "without spaces around them"
            )
        return name

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        spec, crop_px = self.network.spec, self.loop.crop_px
        if crop_px % spec.stride_px:
            raise ValueError(
                f"loop.crop_px is {crop_px}, wanted a multiple of {spec.stride_px} for {spec.levels} levels"
            )
        if self.method.histogram_matching > 0 and self.data.target is None:
            raise ValueError("method.histogram_matching needs data.target: name the volume, or set it to 0")
        if self.validate_ is not None and (self.validate_.phantoms is None) == (
            self.data.source.phantom is not None
        ):
            raise ValueError("validate must hold phantoms for a phantom source and slices for any other")
        return self

    def as_json(self) -> dict[str, Any]:
        """Return every key, defaults included, as JSON types; `parse_recipe` reads it back."""
        written: dict[str, Any] = self.model_dump(mode="json", by_alias=True)
        return written


@dataclass(frozen=True)
class PlacedRecipe:
    """A recipe and the folder that its paths start from."""

    recipe: Recipe
    folder: Path

    def locate(self, text: str) -> str:
        """Return the full path (with any `::dataset`) of a path of the recipe."""
        return os.path.normpath(self.folder / text)


def load_recipe(path: Path, overrides: tuple[str, ...] = ()) -> PlacedRecipe:
    """Read a recipe and lay `overrides` ("loop.steps=100") over it.

    Raises:
        RecipeError: the file cannot be read, is not TOML, or a key or value is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} cannot be read ({_reason(error)}): name a recipe, a TOML file") from error
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path} is not TOML: {error}") from error
    for override in overrides:
        _lay_over(values, override)
    return PlacedRecipe(parse_recipe(values, str(path)), path.resolve().parent)


def parse_recipe(values: dict[str, Any], name: str) -> Recipe:
    """Check the keys and values of a recipe; `name` is what messages call it.

    Raises:
        RecipeError: names the first wrong key by its dotted path.
    """
    try:
        return Recipe.model_validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        raise RecipeError(f"{name}: {_sentence(error.errors()[0])}") from error


def _lay_over(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise RecipeError(f"--set got {override!r}, wanted KEY=VALUE as in --set loop.steps=100")
    table = values
    for part in parts[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise RecipeError(f"--set {override}: {part} is a value, not a section")
    table[parts[-1]] = _toml_value(text.strip())


def _toml_value(text: str) -> Any:
    """Read a TOML value; what is not one is taken as a string, so that names need no quotes."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _sentence(detail: ErrorDetails) -> str:
    parts = [str(part) for part in detail["loc"]]
    key = ".".join(parts)
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    match detail["type"]:
        case "extra_forbidden":
            return f"unknown key {key}{_suggestion(parts)}"
        case "missing":
            return f"{key} is missing, add it"
        case "value_error":
            return f"{key}: {message}" if key else message
        case _:
            return f"{key} is {json.dumps(detail['input'])}, wanted {message}"


def _suggestion(parts: list[str]) -> str:
    section: type[BaseModel] = Recipe
    for part in parts[:-1]:
        fields = {_written(name, section): name for name in section.model_fields}
        section = _section_of(section.model_fields[fields[part]].annotation)
    known = [_written(name, section) for name in section.model_fields]
    near = get_close_matches(parts[-1], known, n=1)
    if near:
        return f"; did you mean {'.'.join([*parts[:-1], *near])}?"
    return f"; known here: {', '.join(known)}"


def _written(field: str, section: type[BaseModel]) -> str:
    return section.model_fields[field].alias or field


def _section_of(annotation: Any) -> type[BaseModel]:
    if get_origin(annotation) in (Union, UnionType):
        annotation = next(part for part in get_args(annotation) if part is not type(None))
    section: type[BaseModel] = annotation
    return section


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return error.strerror or "unknown reason" if isinstance(error, OSError) else "not UTF-8 text"
