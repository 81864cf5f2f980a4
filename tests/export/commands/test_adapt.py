"""`dmn adapt` from the outside: options arrive, the summary is told, Ctrl-C says how to go on."""

import signal
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dmn_export.adapt import execute
from dmn_export.adapt.quality import CAVEAT, Finding
from dmn_export.adapt.quality_report import IN_ALL, Alarm
from dmn_export.adapt.wishes import AdaptWishes
from dmn_export.adapt.work import begin_work
from dmn_runtime.cli import main
from dmn_runtime.errors import EXIT_INTERRUPTED, EXIT_USER_ERROR

WORDS = ["adapt", "--source", "labelled", "--target", "stack.tif"]


def adapted(package: Path) -> execute.Adapted:
    contract = SimpleNamespace(name="mito", precisions={"fp32": None, "int8": None})
    package.write_bytes(b"0" * 20_000)
    return execute.Adapted(
        SimpleNamespace(path=package, contract=contract),  # type: ignore[arg-type]
        ("fp16 by cpu is slower",),
        (Finding("agreement", 0.9, "good", "steady"),),
        (Alarm("adapt", "it collapsed", "the pseudo-labels hold little"),),
        package.with_suffix(".quality.json"),
    )


def test_options_arrive_and_the_summary_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Any] = []

    def stand_in(wishes: AdaptWishes, output: Path, work: Path, **keys: Any) -> execute.Adapted:
        asked.append((wishes, output, work, keys["resume"], keys["overwrite"]))
        return adapted(output)

    monkeypatch.setattr(execute, "adapt", stand_in)
    package = tmp_path / "mito.zip"
    assert main([*WORDS, "-o", str(package)]) == 0
    plain = AdaptWishes("labelled", "stack.tif")
    assert asked.pop() == (plain, package, tmp_path / "mito.adapt", False, False)
    told = capsys.readouterr().out.splitlines()
    assert told == [
        f"{package}: mito, 0.02 MB, certified in fp32, int8",
        "  left out: fp16 by cpu is slower",
        "quality, estimated without a label of the target:",
        "  agreement  good  steady",
        "  alarm of stage adapt: it collapsed",
        f"  in all, alarming: {IN_ALL['alarming']}",
        f"  {CAVEAT}",
        f"{tmp_path / 'mito.quality.json'}: the same as a file",
        f"next: dmn infer {package} stack.tif -o segmentation.ome.zarr",
    ]
    more = ["--source-voxel-nm", "5,5,5", "--target-voxel-nm", "50,4.6,4.6", "--student", "s8", "--seed", "2"]
    more += ["--budget", "quick", "--init", "run", "--work", "w", "--set", "loop.batch=2", "--resume"]
    more += ["--class", "synapse", "--no-phantoms", "--target-slices", "3,40", "--most-foreground", "0.08"]
    assert main([*WORDS, "-o", str(package), *more]) == 0
    wished = replace(
        plain,
        source_voxel_nm=(5.0, 5.0, 5.0),
        target_voxel_nm=(50.0, 4.6, 4.6),
        student="s8",
        budget="quick",
        init=Path("run"),
        seed=2,
        overrides=("loop.batch=2",),
        class_name="synapse",
        phantoms=False,
        target_slices=(3, 40),
        most_foreground=0.08,
    )
    assert asked.pop() == (wished, package, Path("w"), True, False)
    # A volume that does not say its voxel size is not read without it.
    assert capsys.readouterr().out.splitlines()[-1].endswith(".ome.zarr --voxel-nm 50,4.6,4.6")


def stop(monkeypatch: pytest.MonkeyPatch, *, begun: bool, by: signal.Signals = signal.SIGINT) -> None:
    """Let an adaptation be stopped, before it has begun or thereafter."""

    def stopped(*_: object, **keys: Any) -> None:
        if begun:
            keys["begun"]()
        signal.raise_signal(by)

    monkeypatch.setattr(execute, "adapt", stopped)


def test_a_request_to_end_is_taken_like_ctrl_c(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stop(monkeypatch, begun=False, by=signal.SIGTERM)
    assert main([*WORDS, "-o", str(tmp_path / "mito.zip")]) == EXIT_INTERRUPTED
    assert capsys.readouterr().err.splitlines()[0] == NOT_BEGUN


NOT_BEGUN = "stopped before anything was learned or written: the same command begins again"
GOES_ON = "stopped; nothing that was learned is lost: the same command with --resume goes on from here"


@pytest.mark.parametrize(
    ("former", "words", "begun", "sentence"),
    [
        (False, [], False, NOT_BEGUN),
        (False, [], True, NOT_BEGUN),
        (True, ["--overwrite"], False, f"{NOT_BEGUN}; the former adaptation in {{work}} is as it was"),
        (True, ["--overwrite"], True, GOES_ON),
        (True, ["--resume"], False, GOES_ON),
        (False, ["--resume"], False, NOT_BEGUN),
    ],
)
def test_ctrl_c_says_how_to_go_on(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    former: bool,
    words: list[str],
    begun: bool,
    sentence: str,
) -> None:
    work = tmp_path / "mito.adapt"
    if former:
        begin_work(work, {}, {}, resume=False)
    stop(monkeypatch, begun=begun)
    assert main([*WORDS, "-o", str(tmp_path / "mito.zip"), *words]) == EXIT_INTERRUPTED
    assert capsys.readouterr().err.splitlines()[0] == sentence.format(work=work)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "names no folder and no two volumes that exist"),
        (["--source-voxel-nm", "5"], "--source-voxel-nm"),
        (["--most-foreground", "8"], "--most-foreground 8: wanted a share above 0 and below 1"),
        (["--most-foreground", "8%"], "--most-foreground 8%: wanted a share above 0 and below 1"),
        (["--most-foreground", "0x"], "--most-foreground 0x: wanted a share above 0 and below 1"),
        (["--target-slices", "40"], "--target-slices 40: wanted FIRST,STOP"),
        (["--target-slices", "40,40"], "--target-slices 40,40: wanted FIRST,STOP"),
    ],
)
def test_a_fault_is_one_sentence_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    assert main([*WORDS, "-o", str(tmp_path / "mito.zip"), *words]) == EXIT_USER_ERROR
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("dmn adapt: ")
    assert sentence in line
    assert list(tmp_path.iterdir()) == []
