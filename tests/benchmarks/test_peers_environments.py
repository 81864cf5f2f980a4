"""The peers' environments: every pin is exact, and the folder is named by what is in it."""

import sys
from pathlib import Path

import pytest
from contest.environments import OWN, PINS, TORCH, environment, last_words, parse_pins
from contest.roster import REFERENCE, ROSTERS

from dmn_runtime.errors import UsageError


@pytest.mark.parametrize("path", sorted(PINS.glob("*.txt")), ids=lambda path: path.stem)
def test_every_pin_file_pins(path: Path) -> None:
    pins = parse_pins(path.read_text(encoding="utf-8"), path.name)
    assert pins.get("torch", TORCH) == TORCH
    assert "numpy" in pins


def test_every_contestant_has_an_environment_and_a_program() -> None:
    everybody = [REFERENCE, *ROSTERS["cpu"], *ROSTERS["cuda"]]
    for one in everybody:
        assert one.environment == OWN or (PINS / f"{one.environment}.txt").is_file(), one.name
        assert (PINS / "children" / f"{one.program}.py").is_file(), one.name


@pytest.mark.parametrize("device", sorted(ROSTERS))
def test_no_contestant_comes_twice(device: str) -> None:
    names = [one.name for one in ROSTERS[device]]  # type: ignore[index]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("monai>=1.6\n", "'monai>=1.6' pins nothing, wanted NAME==VERSION"),
        ("monai==1.*\n", "pins nothing"),
        ("-r other.txt\n", "pins nothing"),
        ("monai==1.6.1\nmonai==1.6.0\n", "monai is pinned twice"),
        ("torch==2.12.0\n", f"pins torch 2.12.0, but every peer runs torch {TORCH}"),
        ("# nothing\n\n", "pins nothing"),
    ],
)
def test_pins_that_are_refused(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        parse_pins(text, "some.txt")


def test_an_environment_lies_in_a_folder_named_by_its_pins(tmp_path: Path) -> None:
    monai, torch = (environment(name, tmp_path, {}) for name in ("monai", "torch"))
    assert monai.folder is not None
    assert torch.folder is not None
    assert monai.folder.parent == tmp_path
    assert monai.folder.name.startswith("monai-")
    assert monai.folder.name[6:] != torch.folder.name[6:]
    assert not monai.is_ready


def test_a_named_interpreter_is_taken_as_it_is(tmp_path: Path) -> None:
    given = environment("monai", tmp_path, {"monai": Path("/usr/bin/python3")})
    assert (given.folder, given.python, given.is_ready) == (None, Path("/usr/bin/python3"), True)


def test_dmn_runs_where_this_runs(tmp_path: Path) -> None:
    assert environment(OWN, tmp_path, {}).python == Path(sys.executable)


def test_the_last_word_of_a_failure() -> None:
    assert last_words("Traceback\n  File\nValueError: no\n\n") == "ValueError: no"
    assert last_words("\n") == "no word"
