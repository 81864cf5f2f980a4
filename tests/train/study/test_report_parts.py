"""A study that names tables and shows slices, reported by one command from tiny finished runs."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dmn_runtime.cli import main
from dmn_runtime.errors import RecipeError
from dmn_train.loop import train
from dmn_train.study.collect import Collection
from dmn_train.study.placed import PlacedStudy
from dmn_train.study.plan import plan_study
from dmn_train.study.tables import by_name, protocol_tables

Load = Callable[..., PlacedStudy]

REPORT = """
[[table]]
name = "main"
title = "Methods"
words = "What counts."
arms = ["other", "strong"]

[[table]]
name = "starts"
baseline = "other"
arms = ["strong"]
protocols = ["B"]

[qualitative]
arms = ["third", "strong", "other"]
seed = 0
words = "Looked at by hand."
[[qualitative.remark]]
protocol = "B"
words = "Small discs are missed."
"""
THIRD = """
[[arm]]
name = "third"
protocols = ["A"]
"""


def reported(study: Load, text: str = REPORT) -> PlacedStudy:
    plain = study().path.read_text().partition("[finetune]")[0]
    return study(("seeds = [0, 1]", "seeds = [0]"), text=plain + THIRD + text)


def trained(placed: PlacedStudy, output: Path) -> None:
    """Train all runs but those of the third arm."""
    for job in plan_study(placed, output):
        if job.arm != "third":
            assert job.placed is not None
            train(job.placed, job.folder)


def part(text: str, first: str, stop: str) -> list[str]:
    """Return the lines from a heading to the next."""
    lines = text.splitlines()
    at = lines.index(first)
    return lines[at : lines.index(stop, at)]


def test_one_command_writes_tables_budgets_slices_and_pictures(study: Load, folder: Path) -> None:
    placed, out, docs = reported(study), folder / "out", folder / "docs"
    trained(placed, out)
    words = ["study", str(placed.path), "-o", str(out), "--report-to", str(docs), "--report-only"]
    assert main(words) == 0

    text = (docs / "tiny.md").read_text()
    glance = part(text, "## At a glance", "## A (transductive): all slices")
    assert [line for line in glance if line.startswith("**")] == ["**Methods**"]  # the other: B alone
    assert [line.split(" | ")[0] for line in glance[6:8]] == ["| something else", "| source only"]
    assert [len(line.split(" | ")) for line in glance[4:8]] == [3] * 4

    first = part(text, "## A (transductive): all slices", "## B (transductive)")
    assert [line for line in first if line.startswith("##")] == [
        "## A (transductive): all slices",
        "### Methods",
        "### Other arms",
    ]
    assert first[4] == "What counts."
    names = [name.strip() for name in first[6].strip("|").split("|")]
    assert names[:6] == ["method", "fg IoU", "95 %", "mean of slices", "minus `strong`", "95 %"]
    assert names[-6:] == ["published", "steps", "hours", "network", "multiply-adds per px", "weights"]
    assert not any(name.startswith(("by ", "oracle")) for name in names)  # no run has snapshots
    assert [line.split(" | ")[0] for line in first[8:10]] == ["| something else", "| source only"]
    assert " | 6 + 4 | 0.00 | base 2, 2 levels | " in first[8]
    assert " | 6 | 0.00 | " in first[9]
    assert re.fullmatch(r"Hours: on .* CPU, \d+ threads\.", first[11])
    assert "| third | - |" in text
    second = part(text, "### starts", "## How it was made")
    assert second[2].startswith(
        "| method | fg IoU | 95 % | mean of slices | minus `other` | 95 % | seeds 0 |"
    )
    assert re.match(r"\| source only \| .* \| [+-]0\.\d{3} \(1\) \| ", second[4])
    assert "[tiny-slices.md](tiny-slices.md)" in text
    assert re.findall(r"^!\[foreground IoU.*$", text, re.MULTILINE) == [
        "![foreground IoU: Methods](tiny-bars-main.png)",
        "![foreground IoU: starts](tiny-bars-starts.png)",
    ]
    assert "Difference: to the method at the column's head, seed by seed" in text

    page = (docs / "tiny-slices.md").read_text()
    assert "Looked at by hand." in page
    assert page.partition("## B\n")[2].endswith("\n\n**What is still wrong.** Small discs are missed.\n")
    assert page.count("still wrong") == 1
    assert [line for line in page.splitlines() if line.startswith("## ")] == ["## A: all slices", "## B"]
    kinds = [line.split(":")[0] for line in page.splitlines() if line.startswith("### ")]
    assert kinds == ["### Best", "### Median", "### Worst"] * 2
    ious = [float(cell) for cell in re.findall(r"^\| something else \| ([0-9.]+) \|", page, re.MULTILINE)]
    assert ious == sorted(ious[:3], reverse=True) + sorted(ious[3:], reverse=True)
    assert [part.count("\n| third | -") for part in page.split("\n## ")] == [0, 3, 0]  # it has no part in B
    assert "![" not in page
    assert f"{out.name}/tiny-slices" in page
    assert "--report-only" in page

    # Pictures of the volume stay with the runs.
    assert {path.name for path in docs.iterdir()} == {
        *("tiny.md", "tiny.csv", "tiny-slices.md"),
        *("tiny-bars-main.png", "tiny-bars-starts.png"),
    }
    pictures = {f"{name}-{kind}.png" for name in "AB" for kind in ("best", "median", "worst")}
    assert {path.name for path in (out / "tiny-slices").iterdir()} == pictures | {"tiny-slices.md"}
    shown = (out / "tiny-slices" / "tiny-slices.md").read_text()
    assert all(f"]({name})" in shown for name in pictures)
    colours = np.asarray(Image.open(out / "tiny-slices" / "A-best.png").convert("RGB")).reshape(-1, 3)
    assert (colours == (0x56, 0xB4, 0xE9)).all(axis=1).sum() > 100  # the outline of the truth
    assert not list(out.glob("tiny-overlay-*"))


def test_tables_keep_the_order_of_the_study_file_and_the_rest_comes_last(study: Load) -> None:
    placed = reported(study)
    tables = protocol_tables(placed.study, Collection((), 0, 4))
    assert [(one.protocol.name, one.name) for one in tables] == [
        *(("A", "main"), ("A", "others")),
        *(("B", "main"), ("B", "starts")),
    ]
    assert list(by_name(placed.study, tables)) == ["main", "starts", "others"]
    assert [line.arm.name for line in tables[0].lines] == ["other", "strong"]


def test_the_report_does_without_runs_of_the_last_arm(study: Load, folder: Path) -> None:
    placed, out = reported(study), folder / "out"
    assert main(["study", str(placed.path), "-o", str(out), "--report-only"]) == 0
    page = (out / "tiny-slices.md").read_text()
    assert 'No run of "something else", seed 0, is finished here.' in page
    assert [path.name for path in (out / "tiny-slices").iterdir()] == ["tiny-slices.md"]
    assert not list(out.glob("*.png"))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('arms = ["other", "strong"]', 'arms = ["other", "weak"]', "table main: arms names weak, known are"),
        ('arms = ["other", "strong"]', 'arms = ["other", "other"]', "other is there twice: remove one"),
        ('name = "starts"', 'name = "main"', "table main is there twice"),
        ('name = "starts"', 'name = "others"', "table others has the name of the arms in no table"),
        ('baseline = "other"', 'baseline = "none"', "table starts: baseline names none"),
        ('protocols = ["B"]', 'protocols = ["C"]', "table starts: protocols names C"),
        ("seed = 0", "seed = 7", "qualitative.seed is 7, seeds are 0"),
        ('protocol = "B"', 'protocol = "C"', "qualitative.remark.protocol names C"),
    ],
)
def test_a_wrong_key_of_the_report_is_refused_by_name(study: Load, old: str, new: str, words: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(words)):
        reported(study, REPORT.replace(old, new, 1))
