import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dmn_runtime.errors import OutputError, ResumeError
from dmn_runtime.sink.ledger import Ledger, LedgerHeader, Made, SliceNote, block_crc
from dmn_runtime.sink.paths import ledger_path

HEADER = LedgerHeader(
    input="1f" * 32,
    package="2e" * 32,
    plan={"shape": (5, 600, 300), "tile": {"core": [512, 512], "halo": 32}},
    dmn="0.1.0",
    extra={"threshold": 0.5, "normalisation": {"low": 12.0, "high": 201.0}},
)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """Return the output of an interrupted run with blocks 0 and 7 on disk."""
    path = tmp_path / "out.ome.zarr"
    with closing(Ledger.create(path, HEADER)) as ledger:
        ledger.record(0, 11)
        ledger.record(7, 22)
    return path


def resume(path: Path, header: LedgerHeader = HEADER) -> frozenset[int]:
    with closing(Ledger.resume(path, header)) as ledger:
        return ledger.done


def test_literal_bytes(output: Path) -> None:
    assert ledger_path(output).read_text() == (
        '{"format":"dmn-ledger","version":1,"input":"'
        + "1f" * 32
        + '","package":"'
        + "2e" * 32
        + '","dmn":"0.1.0",'
        '"plan":{"shape":[5,600,300],"tile":{"core":[512,512],"halo":32}},'
        '"extra":{"threshold":0.5,"normalisation":{"low":12.0,"high":201.0}}}\n'
        '{"block":0,"crc32":11}\n'
        '{"block":7,"crc32":22}\n'
    )


def test_same_header_resumes_with_what_is_done(output: Path) -> None:
    assert resume(output) == {0, 7}


def test_recording_goes_on_after_a_resume(output: Path) -> None:
    with closing(Ledger.resume(output, HEADER)) as ledger:
        ledger.record(3, 33)

    assert resume(output) == {0, 3, 7}


def test_has_blocks_tells_whether_resuming_is_worth_while(output: Path, tmp_path: Path) -> None:
    with closing(Ledger.create(tmp_path / "new.zarr", HEADER)) as ledger:
        assert not ledger.has_blocks
        ledger.record(0, 1)
        assert ledger.has_blocks
    with closing(Ledger.resume(output, HEADER)) as ledger:
        assert ledger.has_blocks


def test_threads_record_whole_lines(output: Path) -> None:
    with closing(Ledger.resume(output, HEADER)) as ledger, ThreadPoolExecutor(8) as pool:
        list(pool.map(ledger.record, range(100, 200), range(100)))

    assert resume(output) == {0, 7, *range(100, 200)}


def test_blocks_are_recorded_one_after_the_other(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Taking a failed line back is safe only while no other thread is at its own."""
    inside, most = [], []

    def fsync(descriptor: int) -> None:
        inside.append(descriptor)
        time.sleep(0.001)
        most.append(len(inside))
        inside.pop()

    monkeypatch.setattr(os, "fsync", fsync)
    with closing(Ledger.resume(output, HEADER)) as ledger, ThreadPoolExecutor(8) as pool:
        list(pool.map(ledger.record, range(100, 130), range(30)))

    assert most == [1] * 30


def test_remove_leaves_nothing(output: Path) -> None:
    Ledger.resume(output, HEADER).remove()

    assert list(output.parent.iterdir()) == []


def test_create_replaces_an_old_ledger(output: Path) -> None:
    Ledger.create(output, HEADER).close()

    assert resume(output) == frozenset()
    assert list(output.parent.iterdir()) == [ledger_path(output)]


def test_crc_covers_probability_and_mask() -> None:
    p, m = np.array([[[1, 2, 3]]], np.uint8), np.array([[[4, 5, 6, 7, 8, 9]]], np.uint8)

    assert block_crc(p + 48, m + 48) == 0xCBF43926  # the check value of CRC-32: that of "123456789"
    assert block_crc(m, p) != block_crc(p, m)


DIFFERENCES = {
    "input": (
        replace(HEADER, input="3d" * 32),
        "the input's fingerprint was 1f1f1f1f1f1f... when it was begun and is 3d3d3d3d3d3d... now: "
        "give the volume it was begun with",
    ),
    "package": (
        replace(HEADER, package="4c" * 32),
        "the package's sha256 was 2e2e2e2e2e2e... when it was begun and is 4c4c4c4c4c4c... now: "
        "give the package it was begun with",
    ),
    "version": (
        replace(HEADER, dmn="0.2.0"),
        "the version of DMN was 0.1.0 when it was begun and is 0.2.0 now: use the version it was begun with",
    ),
    "plan": (
        replace(HEADER, plan={**HEADER.plan, "shape": (5, 600, 301)}),
        "the plan's shape was [5, 600, 300] when it was begun and is [5, 600, 301] now: "
        "give the options it was begun with",
    ),
    "plan, deep": (
        replace(HEADER, plan={**HEADER.plan, "tile": {"core": [512, 512], "halo": 48}}),
        "the plan's tile.halo was 32 when it was begun and is 48 now: give the options it was begun with",
    ),
    "threshold": (
        replace(HEADER, extra={**HEADER.extra, "threshold": 0.6}),
        "threshold was 0.5 when it was begun and is 0.6 now: give the options it was begun with",
    ),
    "normalisation": (
        replace(HEADER, extra={**HEADER.extra, "normalisation": {"low": 12.0, "high": 202.0}}),
        "normalisation.high was 201.0 when it was begun and is 202.0 now: give the options it was begun with",
    ),
    "more": (
        replace(HEADER, extra={**HEADER.extra, "at": "working"}),
        "at was absent when it was begun and is working now: give the options it was begun with",
    ),
    "less": (
        replace(HEADER, extra={"threshold": 0.5}),
        'normalisation was {"low": 12.0, "high": 201.0} when it was begun and is absent now: '
        "give the options it was begun with",
    ),
}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_another_run_is_refused_with_what_differs(output: Path, name: str) -> None:
    header, sentence = DIFFERENCES[name]
    before = ledger_path(output).read_bytes()

    with pytest.raises(ResumeError) as caught:
        Ledger.resume(output, header)

    assert str(caught.value) == f"{output} cannot be resumed: {sentence}, or start anew with --overwrite"
    assert ledger_path(output).read_bytes() == before


@pytest.mark.parametrize(
    "torn", [b'{"blo', b'{"block":9,"crc32":1', b'{"block":9,"crc32":1}', b"\0\0", b"x" * 100]
)
def test_torn_last_line_is_dropped_and_not_built_upon(output: Path, torn: bytes) -> None:
    with ledger_path(output).open("ab") as file:
        file.write(torn)

    with closing(Ledger.resume(output, HEADER)) as ledger:
        assert ledger.done == {0, 7}
        ledger.record(8, 1)
    assert resume(output) == {0, 7, 8}
    assert ledger_path(output).read_bytes().endswith(b'22}\n{"block":8,"crc32":1}\n')


HEADER_LINE = json.dumps(HEADER.as_json())


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("", 1),
        (HEADER_LINE[:40], 1),
        (HEADER_LINE[:40] + "\n", 1),
        ("[1]\n", 1),
        ('{"block":0,"crc32":1}\n', 1),
        (HEADER_LINE + '\n{"block":0,"crc\n', 2),
        (HEADER_LINE + '\n{"block":0,"crc32":1}\n\n{"block":1,"crc32":1}\n', 3),
        (HEADER_LINE + '\n{"block":0}\n', 2),
        (HEADER_LINE + '\n{"block":true,"crc32":1}\n', 2),
        (HEADER_LINE + '\n{"block":-1,"crc32":1}\n', 2),
        (HEADER_LINE + '\n{"block":0,"crc32":"1"}\n', 2),
        (HEADER_LINE + '\n{"block":0,"crc32":1}\n{"block":0,"crc32":2}\n', 3),
        (HEADER_LINE + "\n\udcff\n", 2),
    ],
)
def test_damaged_line_is_named(output: Path, content: str, line: int) -> None:
    ledger_path(output).write_bytes(content.encode(errors="surrogateescape"))

    with pytest.raises(ResumeError, match=rf"is damaged in line {line}: start anew with --overwrite"):
        Ledger.resume(output, HEADER)


def test_newer_format_is_refused(output: Path) -> None:
    text = ledger_path(output).read_text()
    ledger_path(output).write_text(text.replace('"version":1', '"version":2'))

    with pytest.raises(ResumeError, match="has ledger format 2, this DMN writes 1"):
        Ledger.resume(output, HEADER)


def test_missing_ledger_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ResumeError, match=r"has no ledger \(x.tif.ledger.jsonl\)"):
        Ledger.resume(tmp_path / "x.tif", HEADER)


def test_ledger_that_cannot_be_written_is_the_users_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")

    with pytest.raises(OutputError, match="cannot be written"):
        Ledger.create(tmp_path / "file" / "x.tif", HEADER)


def test_what_a_run_was_begun_with_is_told_without_resuming_it(output: Path) -> None:
    before = ledger_path(output).read_bytes()
    assert Ledger.begun(output) == HEADER.as_json()
    assert ledger_path(output).read_bytes() == before


def test_a_line_that_a_kill_cut_off_hides_nothing(output: Path) -> None:
    with ledger_path(output).open("ab") as file:
        file.write(b'{"block":9,"cr')
    assert Ledger.begun(output) == HEADER.as_json()


@pytest.mark.parametrize(
    "content", [b"", b"{", b"no ledger\n", b"[]\n", b'{"format":"dmn-ledger","version":99}\n', b"\xff\n"]
)
def test_what_was_begun_is_unknown_where_nobody_can_read_it(output: Path, content: bytes) -> None:
    ledger_path(output).write_bytes(content)
    assert Ledger.begun(output) is None


def test_nothing_was_begun_where_there_is_no_ledger(tmp_path: Path) -> None:
    assert Ledger.begun(tmp_path / "new.ome.zarr") is None
    ledger_path(tmp_path / "new.ome.zarr").mkdir()
    assert Ledger.begun(tmp_path / "new.ome.zarr") is None


def test_in_live_mode_a_later_line_holds_in_the_place_of_an_earlier_one(output: Path) -> None:
    with closing(Ledger.resume(output, HEADER)) as ledger:
        ledger.note(4, SliceNote("s5.png", 10, 20, 30))
        ledger.record(1, 11, Made(5, 8))
        ledger.record(1, 12, Made(6, 8))
        ledger.record(2, 13, Made(7, 16))
        ledger.void(2)
        ledger.note(4, SliceNote("s5.png", 10, 21, 31))
    assert ledger_path(output).read_text().endswith(
        '{"slice":4,"name":"s5.png","size":10,"mtime_ns":20,"crc32":30}\n'
        '{"block":1,"crc32":11,"stamp":5,"stop":8}\n'
        '{"block":1,"crc32":12,"stamp":6,"stop":8}\n'
        '{"block":2,"crc32":13,"stamp":7,"stop":16}\n'
        '{"block":2,"void":true}\n'
        '{"slice":4,"name":"s5.png","size":10,"mtime_ns":21,"crc32":31}\n'
    )  # fmt: skip
    with closing(Ledger.resume(output, HEADER)) as ledger:
        assert ledger.done == {0, 7, 1}
        assert ledger.made == {1: Made(6, 8)}
        assert ledger.slices == {4: SliceNote("s5.png", 10, 21, 31)}


@pytest.mark.parametrize(
    "line",
    [
        '{"slice":-1,"name":"a","size":1,"mtime_ns":1,"crc32":1}',
        '{"slice":1,"name":2,"size":1,"mtime_ns":1,"crc32":1}',
        '{"slice":1,"name":"a","size":1,"mtime_ns":1}',
        '{"block":1,"crc32":1,"stamp":"x","stop":1}',
        '{"block":1,"crc32":1,"stamp":1}',
        '{"block":"x","void":true}',
        '{"block":1,"void":false}',
    ],
)
def test_a_senseless_line_of_live_mode_is_damage(output: Path, line: str) -> None:
    with ledger_path(output).open("a") as file:
        file.write(line + "\n")
    with pytest.raises(ResumeError, match="damaged in line 4"):
        Ledger.resume(output, HEADER)
