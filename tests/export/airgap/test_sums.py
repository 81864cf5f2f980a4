"""SHA256SUMS, as sha256sum reads it."""

from pathlib import Path

from dmn_export.airgap.sums import write_sums

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_every_file_is_listed_once_with_forward_slashes(tmp_path: Path) -> None:
    (tmp_path / "wheels" / "linux").mkdir(parents=True)
    (tmp_path / "wheels" / "linux" / "a.whl").write_bytes(b"abc")
    (tmp_path / "README.md").write_bytes(b"")
    write_sums(tmp_path)
    expected = f"{EMPTY}  README.md\n{ABC}  wheels/linux/a.whl\n"
    assert (tmp_path / "SHA256SUMS").read_bytes() == expected.encode()
