"""Writing a package: whole or not at all, the same bytes for the same content, checked as a reader would."""

import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dmn_runtime.archive import check_output, write_archive
from dmn_runtime.contract import Contract
from dmn_runtime.errors import CertificateError, OutputError, PackageError
from dmn_runtime.package import open_package


@pytest.fixture
def content(small_package: Callable[..., Path]) -> tuple[Contract, dict[str, bytes]]:
    """Return the contract and the members of a package."""
    package = open_package(small_package())
    return package.contract, {name: package.read_member(name) for name in package.contract.members}


Content = tuple[Contract, dict[str, bytes]]


def test_what_is_written_opens_and_holds_the_same(content: Content, tmp_path: Path) -> None:
    contract, members = content
    written = write_archive(tmp_path / "a.zip", contract, members)
    assert written == open_package(tmp_path / "a.zip")
    assert written.contract == contract
    assert {name: written.read_member(name) for name in written.contract.members} == members
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_the_same_content_is_the_same_bytes(content: Content, tmp_path: Path) -> None:
    contract, members = content
    write_archive(tmp_path / "a.zip", contract, members)
    turned = dict(reversed(members.items()))
    write_archive(tmp_path / "b.zip", replace(contract, members={}), turned)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_members_are_plain_files_of_no_time_in_order(content: Content, tmp_path: Path) -> None:
    write_archive(tmp_path / "a.zip", *content)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        infos = archive.infolist()
        document = json.loads(archive.read("dmn.json"))
    assert [info.filename for info in infos] == sorted([*content[1], "dmn.json"])
    assert {info.date_time for info in infos} == {(1980, 1, 1, 0, 0, 0)}
    assert {(info.create_system, info.external_attr >> 16) for info in infos} == {(3, 0o100644)}
    assert list(document["members"]) == sorted(content[1])


def test_the_members_of_the_contract_are_made_from_the_bytes(content: Content, tmp_path: Path) -> None:
    contract, members = content
    wrong = replace(contract, members={"nowhere.npy": "0" * 64})
    written = write_archive(tmp_path / "a.zip", wrong, members | {"notes.txt": b"hello"})
    assert sorted(written.contract.members) == sorted([*members, "notes.txt"])
    assert written.read_member("notes.txt") == b"hello"


def test_a_contract_that_is_broken_leaves_nothing(content: Content, tmp_path: Path) -> None:
    contract, members = content
    with pytest.raises(PackageError):
        write_archive(tmp_path / "a.zip", replace(contract, threshold=2.0), members)
    assert list(tmp_path.iterdir()) == []


def test_an_older_package_stays_where_the_check_refuses_the_new_one(content: Content, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"older")
    seen: list[bytes] = []

    def refuse(path: Path) -> None:
        seen.append(open_package(path).read_member("weights.onnx"))
        raise CertificateError("not the same segmentation")

    with pytest.raises(CertificateError):
        write_archive(tmp_path / "a.zip", *content, refuse)
    assert seen == [content[1]["weights.onnx"]]
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"older"]


def test_an_older_package_is_replaced(content: Content, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"older")
    written = write_archive(tmp_path / "a.zip", *content)
    assert open_package(tmp_path / "a.zip") == written


def test_a_disk_that_takes_nothing_is_one_sentence(
    content: Content, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    with pytest.raises(OutputError, match=r"a\.zip cannot be written \(No space left on device\): check"):
        write_archive(tmp_path / "a.zip", *content)
    assert list(tmp_path.iterdir()) == []


def test_outputs_that_no_package_can_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "there.zip").write_bytes(b"")
    (tmp_path / "folder.zip").mkdir()
    for name, overwrite, said in (
        ("a.tar", False, "does not end in .zip, which a package must: name it a.tar.zip"),
        ("a.ZIP", False, "does not end in .zip"),
        ("there.zip", False, "exists already: name another file, or pass --overwrite"),
        ("folder.zip", True, "exists already"),
        ("nowhere/a.zip", False, "does not exist: make it first"),
        ("there.zip/a.zip", False, "does not exist: make it first"),
    ):
        with pytest.raises(OutputError) as caught:
            check_output(tmp_path / name, overwrite)
        assert said in str(caught.value)
    check_output(tmp_path / "there.zip", True)
    check_output(tmp_path / "new.zip", False)
