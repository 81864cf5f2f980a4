"""A recipe: one TOML file that says everything about a run (docs/training.md lists the keys)."""

import json
import os
import tomllib
from copy import deepcopy
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Self, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from dmn_runtime.errors import RecipeError
from dmn_train.methods.dismemnet_parts.specs import check_dismemnet
from dmn_train.named import Named
from dmn_train.sections import (
    OPTIONS,
    AugmentSection,
    DataSection,
    InitSection,
    LogSection,
    LoopSection,
    LossSection,
    MethodSection,
    NetworkSection,
    NormalisationSection,
    OptimiserSection,
    Positive,
    Section,
    SelectSection,
    ValidateSection,
)

MOST_CLASS_NAME_CHARS = 60

AnySection = TypeVar("AnySection", bound=Section)


class Recipe(Named):
    """The whole recipe."""

    description: str = ""
    class_name: str = "mitochondrion"
    working_voxel_nm: Positive | None = None
    network: NetworkSection
    data: DataSection
    normalisation: NormalisationSection = NormalisationSection()
    init: InitSection | None = None
    method: MethodSection = MethodSection()
    loss: LossSection = LossSection()
    augment: AugmentSection = AugmentSection()
    optimiser: OptimiserSection = OptimiserSection()
    loop: LoopSection = LoopSection()
    validate_: Annotated[ValidateSection | None, Field(alias="validate")] = None
    select: SelectSection = SelectSection()
    log: LogSection = LogSection()

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
        if self.method.dismemnet is not None:
            check_dismemnet(self.method.dismemnet, spec, crop_px, self.loop.devices)
        for key, wanted in self._target_users().items():
            if wanted and not self.data.target:
                raise ValueError(f"{key} needs data.target: name the volume, or change that key")
        if (self.data.extra is None) != (self.loop.extra_share == 0.0):
            raise ValueError("data.extra and loop.extra_share go together: give both, or neither")
        if self.select.rule == "held_out" and self.validate_ is None:
            raise ValueError('select.rule "held_out" needs a [validate] section: add it, or change the rule')
        if self.validate_ is not None and (self.validate_.phantoms is None) == (
            self.data.source.phantom is not None
        ):
            raise ValueError("validate must hold phantoms for a phantom source and slices for any other")
        return self

    def _target_users(self) -> dict[str, bool]:
        """Return for each key that may want an unlabelled target volume whether it does."""
        return {
            "method.histogram_matching": self.method.histogram_matching > 0,
            "method.name": self.method.name != "source_only",
            "select.rule": self.select.rule in ("solidity", "entropy"),
            "select.most_foreground": self.select.most_foreground is not None,
        }

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
    values = read_toml(path)
    for override in overrides:
        _lay_over(values, override)
    return PlacedRecipe(parse_recipe(values, str(path)), path.resolve().parent)


def laid_over(values: dict[str, Any], overrides: tuple[str, ...]) -> dict[str, Any]:
    """Return a recipe's keys and values with `overrides` ("loop.steps=100") laid over them.

    Raises:
        RecipeError: an override is malformed, or goes into a value as if it were a section.
    """
    laid = deepcopy(values)
    for override in overrides:
        _lay_over(laid, override)
    return laid


def read_toml(path: Path) -> dict[str, Any]:
    """Return the keys and values of a TOML file.

    Raises:
        RecipeError: the file cannot be read or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path} is not TOML: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} cannot be read ({_reason(error)}): name a TOML file") from error


def parse_recipe(values: dict[str, Any], name: str) -> Recipe:
    """Check the keys and values of a recipe; `name` is what messages call it.

    Raises:
        RecipeError: names the first wrong key by its dotted path.
    """
    return parse_section(Recipe, _completed(values), name)


def parse_section(section: type[AnySection], values: dict[str, Any], name: str) -> AnySection:
    """Check the keys and values of a table and those in it; `name` is what messages call it.

    Raises:
        RecipeError: names the first wrong key by its dotted path.
    """
    try:
        return section.model_validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        raise RecipeError(f"{name}: {_sentence(error.errors()[0], section)}") from error


def _completed(values: dict[str, Any]) -> dict[str, Any]:
    """Write out what may be left short: `[data.target]` for a list of one, a missing `[method.NAME]`."""
    data, method = values.get("data"), values.get("method")
    if isinstance(data, dict) and "target" in data:
        target = data["target"]
        listed = [] if target is None else [target] if isinstance(target, dict) else target
        values = {**values, "data": {**data, "target": listed}}
    if isinstance(method, dict) and method.get("name") in OPTIONS and method.get(method["name"]) is None:
        values = {**values, "method": {**method, method["name"]: {}}}
    return values


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


def _sentence(detail: ErrorDetails, root: type[BaseModel]) -> str:
    # Pydantic names the branch of a union as if it were a key: "tuple[...]".
    parts = [part for part in map(str, detail["loc"]) if "[" not in part]
    key = ".".join(parts)
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    match detail["type"]:
        case "extra_forbidden":
            return f"unknown key {key}{_suggestion(parts, root)}"
        case "missing":
            return f"{key} is missing, add it"
        case "value_error":
            return f"{key}: {message}" if key else message
        case _:
            return f"{key} is {json.dumps(detail['input'])}, wanted {message}"


def _suggestion(parts: list[str], section: type[BaseModel]) -> str:
    for part in parts[:-1]:
        if part.isdigit():  # the place in a list of tables
            continue
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
    if get_origin(annotation) is tuple:
        annotation = get_args(annotation)[0]
    section: type[BaseModel] = annotation
    return section


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return error.strerror or "unknown reason" if isinstance(error, OSError) else "not UTF-8 text"
