"""The page of single slices: numbers and words for the report's folder, pictures for the runs' folder."""

from collections.abc import Callable

from dmn_runtime.metrics import iou
from dmn_train.study.components import LEAST_AREA_NM2
from dmn_train.study.markdown_table import NOTHING, table
from dmn_train.study.placed import PlacedStudy
from dmn_train.study.places import Places
from dmn_train.study.report_sections import QualitativeSection
from dmn_train.study.slices import ProtocolSlices, Shown, ShownSlice

HEADINGS = [
    *("method", "fg IoU", "false positive, µm²", "false negative, µm²"),
    *("missed", "invented", "merged", "split"),
]
_DEFINITIONS = f"""\
Best, median and worst slice by the foreground IoU of {{last}} (seed {{seed}} for every method) among those
with true foreground; of an even number the better middle one is the median. False positive: area that is
predicted and not true; false negative: true and not predicted. An object is an 8-connected component of one
slice of {LEAST_AREA_NM2:g} nm² or more, so that mitochondria that touch are one. Missed: true objects of
which less than a quarter of the area is predicted; invented: predicted objects of which less than a quarter
is true; merged: predicted objects that cover a quarter or more of each of several true ones; split: true
objects that hold a quarter or more of each of several predicted ones."""
_ELSEWHERE = """\
The pictures show microscopy data that may not be handed on, so they are not here. Who has the volumes and the
runs finds them in `{output}/{name}-slices` after

```
{command} --report-only
```"""
_COLOURS = """\
Blue line: truth. Orange line: prediction. Blue ring: an object that is missed. Orange cross: an object that
is invented. Above: the whole part that is tested. Below, where that is large: the window, framed above, with
most mistakes of {last}. These pictures show microscopy data: do not hand them on where its licence forbids
it."""


def numbers_page(
    placed: PlacedStudy, section: QualitativeSection, protocols: tuple[ProtocolSlices, ...], places: Places
) -> str:
    """Return the page for the report's folder, as Markdown: no picture, no outline."""
    command = _ELSEWHERE.format(output=places.output, name=placed.study.name, command=places.command)
    return _page(placed, section, protocols, command, lambda _protocol, _shown: "")


def picture_page(
    placed: PlacedStudy,
    section: QualitativeSection,
    protocols: tuple[ProtocolSlices, ...],
    picture_name: Callable[[str, ShownSlice], str],
) -> str:
    """Return the page for the runs' folder, as Markdown: the same beside the pictures.

    Args:
        placed: the study.
        section: its key.
        protocols: the slices.
        picture_name: the file of a slice of a protocol, named from the page's folder.
    """
    colours = _COLOURS.format(last=_last(placed, section))
    return _page(
        *(placed, section, protocols, colours),
        lambda protocol, shown: f"![{protocol}, {shown.kind} slice]({picture_name(protocol, shown)})",
    )


def _page(
    placed: PlacedStudy,
    section: QualitativeSection,
    protocols: tuple[ProtocolSlices, ...],
    note: str,
    picture: Callable[[str, ShownSlice], str],
) -> str:
    study = placed.study
    parts = [f"# {study.title or study.name}: single slices", section.words.strip()]
    parts += [_DEFINITIONS.format(last=_last(placed, section), seed=section.seed), note]
    for one in protocols:
        name = one.protocol.name
        parts.append(f"## {name}: {one.protocol.words}" if one.protocol.words else f"## {name}")
        if not one.slices:
            parts.append(f"No run of {_last(placed, section)}, seed {section.seed}, is finished here.")
        for shown in one.slices:
            parts += [_heading(shown), picture(name, shown), _numbers(shown)]
        remarks = [remark.words.strip() for remark in section.remark if remark.protocol == name]
        parts += [f"**What is still wrong.** {words}" for words in remarks]
    return "\n\n".join(part for part in parts if part) + "\n"


def _last(placed: PlacedStudy, section: QualitativeSection) -> str:
    return f'"{placed.study.arm_named(section.arms[-1]).words}"'


def _heading(shown: ShownSlice) -> str:
    objects = f"{shown.last.objects} true object{'' if shown.last.objects == 1 else 's'}"
    area = f"{shown.last.true_um2:.3f} µm² of foreground"
    return f"### {shown.kind.capitalize()}: slice {shown.z}, {objects}, {area}"


def _numbers(shown: ShownSlice) -> str:
    return table(HEADINGS, [[arm.words, *_cells(found)] for arm, found in shown.arms])


def _cells(found: Shown | None) -> list[str]:
    if found is None:
        return [NOTHING] * (len(HEADINGS) - 1)
    wrong = found.mistakes
    return [
        f"{float(iou(wrong.counts)):.3f}",
        *(f"{area:.3f}" for area in (wrong.false_positive_um2, wrong.false_negative_um2)),
        *(str(count) for count in (len(wrong.missed), len(wrong.invented), wrong.merged, wrong.split)),
    ]
