"""Files are whole or absent."""

import errno
import os
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from dmn_runtime.errors import OutputError
from dmn_train.files import file_sha256, write_json, write_text, write_whole


def test_a_failing_writer_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fail(partial: Path) -> None:
        partial.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OutputError, match=r"a\.txt cannot be written \(disk full\): free space"):
        write_whole(path, fail)
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    assert path.read_text() == "old"


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "No space left on device"),
        (OSError("encoder error -2"), "encoder error -2"),
        (SafetensorError("I/O error: File too large"), "I/O error: File too large"),
    ],
)
def test_a_full_disk_is_one_sentence(tmp_path: Path, fault: Exception, said: str) -> None:
    path = tmp_path / "a.bin"

    def fail(_: Path) -> None:
        raise fault

    with pytest.raises(OutputError) as caught:
        write_whole(path, fail)
    assert str(caught.value) == (
        f"{path} cannot be written ({said}): free space or lift the limit, then run again, "
        "with --resume if the run had begun"
    )


def test_a_file_may_be_read_by_whom_the_system_lets(tmp_path: Path) -> None:
    """Whoever writes it: safetensors makes files that only their owner may read."""
    former = os.umask(0o022)
    try:
        write_text(tmp_path / "text", "here")
        write_whole(tmp_path / "weights", lambda partial: save_file({"w": torch.zeros(2)}, partial))
    finally:
        os.umask(former)
    assert (tmp_path / "weights").stat().st_mode == (tmp_path / "text").stat().st_mode


def test_json_holds_no_nan(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": [1, "µ"]})
    assert (tmp_path / "a.json").read_bytes() == '{\n  "b": [\n    1,\n    "µ"\n  ]\n}\n'.encode()
    with pytest.raises(ValueError, match="Out of range"):
        write_json(tmp_path / "b.json", {"b": float("nan")})


def test_sha256_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert file_sha256(tmp_path / "a") == expected
