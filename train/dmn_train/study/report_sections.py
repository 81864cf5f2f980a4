"""The tables of a study file that say what its report shows, and nothing of what is trained."""

from typing import Annotated

from pydantic import AfterValidator, Field

from dmn_train.named import Named
from dmn_train.sections import Index, Section


def _each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name} is there twice: remove one of the two")
    return names


OTHERS = "others"
"""Name of the table of the arms that stand in no other one."""

Names = Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_each_once)]


class TableSection(Named):
    """One table of the report, made anew in every protocol.

    Attributes:
        name: of its figure.
        title: heading; the name if not given.
        words: Markdown between heading and table.
        baseline: the arm that its arms are compared with; the study's if not given.
        beside: a second such arm; the study's if not given and another one than the baseline.
        arms: its lines, in this order.
        protocols: those that it stands in; None is all.
    """

    title: str = ""
    words: str = ""
    baseline: str | None = None
    beside: str | None = None
    arms: Names
    protocols: tuple[str, ...] | None = None

    @property
    def heading(self) -> str:
        """The table for people."""
        return self.title or self.name

    def stands_in(self, protocol: str) -> bool:
        """Tell whether the table is made in a protocol."""
        return self.protocols is None or protocol in self.protocols


class RemarkSection(Section):
    """What somebody who looked at the pictures of a protocol wrote of them.

    Attributes:
        protocol: name.
        words: Markdown.
    """

    protocol: str
    words: str


class QualitativeSection(Section):
    """The page of single slices.

    Attributes:
        arms: a panel each in the protocols that they take part in; by the last one slices are chosen.
        seed: of the runs that are shown.
        words: Markdown at the head of the page.
        remark: of protocols.
    """

    arms: Names
    seed: Index
    words: str = ""
    remark: tuple[RemarkSection, ...] = ()
