"""`dmn study` from end to end: trained once, scored, reported, and then left alone."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dmn_runtime.cli import main
from dmn_train.study.placed import PlacedStudy

Load = Callable[..., PlacedStudy]

ONE_SEED = ("seeds = [0, 1]", "seeds = [0]")
PLAIN = ("init = ", 'protocols = ["A"]  # ')
SOURCE_ONLY = ("set = { method = { histogram_matching = 0.5 }, loop", "set = { loop")


def small(study: Load) -> PlacedStudy:
    """Two runs of a few steps, without fine-tuning."""
    text = study().path.read_text().partition("[finetune]")[0]
    return study(ONE_SEED, PLAIN, SOURCE_ONLY, text=text)


def stamps(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_a_study_is_trained_scored_and_reported_once(
    study: Load, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    placed, out = small(study), folder / "out"
    words = ["study", str(placed.path), "-o", str(out)]
    assert main([*words, "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "shared/strong/seed0: absent",
        "A/other/seed0: absent",
        "2 runs, 2 of them to train",
    ]
    assert not out.exists()

    assert main([*words, "--jobs", "2"]) == 0
    said = capsys.readouterr()
    assert "2/2  " in said.err
    with (out / "tiny.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(r["protocol"], r["arm"], r["steps"], r["n_slices"]) for r in rows] == [
        ("A", "strong", "6", "6"),
        ("B", "strong", "6", "3"),
        ("A", "other", "4", "6"),
    ]
    facts = json.loads((out / "A" / "other" / "seed0" / "run.json").read_text())
    assert rows[2]["weights_sha256"] == facts["weights_sha256"]
    assert rows[2]["command"] == "dmn train out/A/other/seed0.toml -o out/A/other/seed0"
    assert rows[2]["run"] == "A/other/seed0"

    runs = stamps(out / "A") | stamps(out / "shared")
    assert main(words) == 0
    assert "A/other/seed0: done, was finished" in capsys.readouterr().err
    assert stamps(out / "A") | stamps(out / "shared") == runs

    (out / "A" / "other" / "seed0" / "run.json").unlink()
    assert main([*words, "--report-only", "--report-to", str(folder / "docs")]) == 0
    assert len((folder / "docs" / "tiny.csv").read_text().splitlines()) == 3
    assert "1 of 2 planned runs are finished." in (folder / "docs" / "tiny.md").read_text()
    names = {path.name for path in (folder / "docs").iterdir()}
    assert names == {"tiny.md", "tiny.csv", "tiny-bars.png"}  # and no picture of a test volume
    assert (out / "tiny-overlay-A.png").is_file()
    assert not (out / "A" / "other" / "seed0" / "run.json").exists()


def test_a_failed_run_is_told_with_its_last_words_and_its_dependents_are_left_out(
    study: Load, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = study().path.read_text().partition("[finetune]")[0]
    placed = study(
        ONE_SEED,
        ("shared = true", "shared = true\nset = { data = { source = { slices = [0, 9] } } }"),
        text=text,
    )
    assert main(["study", str(placed.path), "-o", str(folder / "out")]) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith(
        "1/3  shared/strong/seed0: failed, shared/strong/seed0: training ended with status 2"
    )
    assert "data.source.slices is [0, 9]" in said[0]
    assert said[1] == "2/3  A/other/seed0: left out, what it starts from failed"
    assert said[-1].startswith("3 of 3 runs are missing: shared/strong/seed0, ")
    assert (folder / "out" / "tiny.csv").read_text().count("\n") == 1


def test_options_that_exclude_each_other_are_refused(study: Load, folder: Path) -> None:
    words = ["study", str(study().path), "-o", str(folder / "out"), "--dry-run", "--report-only"]
    assert main(words) == 2
