"""A study and where it lies: read from its TOML file (docs/study.md lists the keys)."""

from dataclasses import dataclass
from pathlib import Path

from dmn_train.recipe import parse_section, read_toml
from dmn_train.study.sections import Study, Table


@dataclass(frozen=True)
class PlacedStudy:
    """A study, the file it stands in, and its base recipe as the TOML has it.

    Attributes:
        study: the study.
        path: of the study file; its paths start from the file's folder.
        base: the base recipe's keys and values.
    """

    study: Study
    path: Path
    base: Table

    @property
    def folder(self) -> Path:
        """The folder that the study's paths start from."""
        return self.path.resolve().parent

    @property
    def recipe_folder(self) -> Path:
        """The folder that the base recipe's paths start from."""
        return (self.folder / self.study.recipe).resolve().parent


def load_study(path: Path) -> PlacedStudy:
    """Read a study file and its base recipe.

    Raises:
        RecipeError: a file cannot be read, is not TOML, or a key or value is wrong.
    """
    study = parse_section(Study, read_toml(path), str(path))
    return PlacedStudy(study, path, read_toml(path.resolve().parent / study.recipe))
