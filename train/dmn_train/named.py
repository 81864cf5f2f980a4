"""A table of a recipe or a study file that gives its name to files."""

import re

from pydantic import field_validator

from dmn_train.sections import Section

FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Named(Section):
    """A table with a name that fits into the name of a file."""

    name: str

    @field_validator("name")
    @classmethod
    def _fit_for_a_file(cls, name: str) -> str:
        if not FILE_NAME.fullmatch(name):
            raise ValueError(f"{name!r} names no file, wanted letters, digits, dots, dashes and underscores")
        return name
