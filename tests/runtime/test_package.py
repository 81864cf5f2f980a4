"""The package reader against archives built by hand, one broken clause each."""

import hashlib
import json
import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

import pytest

from dmn_runtime import package as package_module
from dmn_runtime.errors import (
    InvalidField,
    MissingMember,
    NotAPackage,
    OversizedMember,
    PackageError,
    UnknownVersion,
    UnsafeMember,
    WrongHash,
)
from dmn_runtime.package import open_package, resolve_package

NETWORK = b"ONNX would stand here"
README = b"# mito\n"


def dmn_json(members: Mapping[str, bytes], **changes: object) -> bytes:
    document = {
        "format": "dmn-package",
        "format_version": 2,
        "name": "mito",
        "description": "Mitochondria.",
        "classes": ["mitochondrion"],
        "in_channels": 1,
        "context_slices": 0,
        "stride_px": 8,
        "halo_px": 48,
        "voxel_nm": [5.0, 5.0, 5.0],
        "working_voxel_nm": None,
        "normalisation": {"low_percent": 1.0, "high_percent": 99.0, "clip": 2.0},
        "threshold": 0.5,
        "precisions": {
            "fp32": {
                "member": "weights.onnx",
                "certificates": [
                    {
                        "engine": "cpu",
                        "library": "onnxruntime 1.31.1",
                        "device": "Some CPU, 1 thread",
                        "tiles": 1,
                        "threshold": 0.5,
                        "max_dp": 0.0,
                        "mean_dp": 0.0,
                        "iou_change": 0.0,
                        "objects": None,
                        "objects_matched": None,
                        "tolerance_max_dp": 0.0001,
                        "tolerance_iou_change": 0.0005,
                        "voxels_per_s": None,
                        "speedup": None,
                        "passed": True,
                    }
                ],
            }
        },
        "plans": [],
        "domain": {"quantiles": [0, 0, 0, 0, 0, 0, 0], "foreground_share": 0.1},
        "provenance": {},
        "members": {name: hashlib.sha256(content).hexdigest() for name, content in members.items()},
    }
    return json.dumps(document | changes).encode()


MEMBERS = {"weights.onnx": NETWORK, "README.md": README}
CONTRACT = dmn_json(MEMBERS)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mito.zip"


def write(path: Path, *members: tuple[str | ZipInfo, bytes], method: int = ZIP_DEFLATED) -> Path:
    with ZipFile(path, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def write_valid(path: Path) -> Path:
    return write(path, ("dmn.json", CONTRACT), *MEMBERS.items())


def refused(path: Path, error: type[PackageError], said: str) -> None:
    """Expect one sentence that names the file, and a folder that holds what it held."""
    before = {p: p.read_bytes() for p in path.parent.rglob("*") if p.is_file()}
    with pytest.raises(error, match=said) as caught:
        open_package(path)
    assert type(caught.value) is error
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert {p: p.read_bytes() for p in path.parent.rglob("*") if p.is_file()} == before


def patched(path: Path, edit: Callable[[bytearray], None]) -> Path:
    content = bytearray(path.read_bytes())
    edit(content)
    path.write_bytes(content)
    return path


def in_both_headers(content: bytearray, local_offset: int, central_offset: int, value: bytes) -> None:
    """Overwrite a field of the first member's local header and of its entry in the central directory."""
    central = content.index(b"PK\x01\x02")
    content[local_offset : local_offset + len(value)] = value
    content[central + central_offset : central + central_offset + len(value)] = value


def test_a_valid_package_opens_and_gives_its_members(path: Path) -> None:
    package = open_package(write_valid(path))
    assert package.path == path
    assert package.contract.name == "mito"
    assert package.contract.halo_px == 48
    assert package.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert package.network() == NETWORK
    assert package.read_member("README.md") == README
    assert list(path.parent.iterdir()) == [path]


def test_a_stored_package_opens_too(path: Path) -> None:
    package = open_package(write(path, ("dmn.json", CONTRACT), *MEMBERS.items(), method=ZIP_STORED))
    assert package.network("fp32") == NETWORK


def test_an_unknown_precision_or_member_names_those_there_are(path: Path) -> None:
    package = open_package(write_valid(path))
    with pytest.raises(MissingMember, match=r"no 'int8' network, it holds fp32"):
        package.network("int8")
    with pytest.raises(MissingMember, match=r"no member 'x', it has README\.md, weights\.onnx"):
        package.read_member("x")


def test_a_package_replaced_after_opening_is_noticed(path: Path) -> None:
    package = open_package(write_valid(path))
    write(path, ("dmn.json", CONTRACT), ("weights.onnx", b"another"), ("README.md", README))
    with pytest.raises(WrongHash, match=r"weights\.onnx"):
        package.network()


def test_a_member_gone_after_opening_is_noticed(path: Path) -> None:
    package = open_package(write_valid(path))
    write(path, ("dmn.json", CONTRACT), ("README.md", README))
    with pytest.raises(MissingMember, match=r"lost its member 'weights.onnx'"):
        package.network()


# Not a package


def test_a_file_that_does_not_exist(path: Path) -> None:
    refused(path, NotAPackage, "does not exist: give a package written by dmn export, or the word demo")


def test_a_folder(tmp_path: Path) -> None:
    (tmp_path / "mito.zip").mkdir()
    refused(tmp_path / "mito.zip", NotAPackage, "is a folder")


@pytest.mark.parametrize("content", [b"", b"II*\x00 a TIFF", b"PK\x03\x04" + bytes(100)])
def test_a_file_that_is_no_zip(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    refused(path, NotAPackage, "not a whole zip archive")


def test_a_zip_cut_off_in_the_middle(path: Path) -> None:
    whole = write_valid(path).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    refused(path, NotAPackage, "not a whole zip archive.*copy it again")


def test_bytes_before_the_first_member(path: Path) -> None:
    path.write_bytes(b"#!/bin/sh\n" + write_valid(path).read_bytes())
    refused(path, NotAPackage, "bytes lie before or between")


def test_a_zip_without_dmn_json(path: Path) -> None:
    refused(write(path, ("weights.onnx", NETWORK)), NotAPackage, "has no dmn.json.*dmn export")


def test_dmn_json_of_another_format(path: Path) -> None:
    other = dmn_json(MEMBERS, format="zoo")
    refused(write(path, ("dmn.json", other), *MEMBERS.items()), NotAPackage, "'zoo', wanted 'dmn-package'")


# One test a clause


def test_a_newer_format_version(path: Path) -> None:
    newer = dmn_json(MEMBERS, format_version=3)
    refused(write(path, ("dmn.json", newer), *MEMBERS.items()), UnknownVersion, "upgrade it with pip install")


def test_an_older_format_version(path: Path) -> None:
    older = dmn_json(MEMBERS, format_version=1)
    refused(write(path, ("dmn.json", older), *MEMBERS.items()), UnknownVersion, "export the run again")


def test_a_plan_that_is_recorded_is_a_member_like_others(path: Path) -> None:
    members = {**MEMBERS, "plans/rtx.plan": b"a plan would stand here"}
    plan = {
        "member": "plans/rtx.plan",
        "precision": "fp32",
        "library": "tensorrt_rtx",
        "library_version": "1.7",
        "targets": ["SM86"],
        "platform": "linux_x86_64",
        "least": [1, 1, 8, 8],
        "best": [1, 1, 8, 8],
        "most": [4, 1, 8, 8],
    }
    contract = dmn_json(members, plans=[plan])
    package = open_package(write(path, ("dmn.json", contract), *members.items()))
    assert package.read_member(package.contract.plans[0].member) == b"a plan would stand here"
    tampered = {**members, "plans/rtx.plan": b"another"}
    refused(write(path, ("dmn.json", contract), *tampered.items()), WrongHash, "'plans/rtx.plan' has sha256")


def test_a_missing_member(path: Path) -> None:
    refused(
        write(path, ("dmn.json", CONTRACT), ("README.md", README)),
        MissingMember,
        "has no member 'weights.onnx'",
    )


def test_a_wrong_hash(path: Path) -> None:
    members = (("weights.onnx", b"tampered"), ("README.md", README))
    refused(write(path, ("dmn.json", CONTRACT), *members), WrongHash, "'weights.onnx' has sha256")


def test_a_damaged_member(path: Path) -> None:
    def flip(content: bytearray) -> None:
        content[content.index(README) + 2] ^= 1

    write(path, ("dmn.json", CONTRACT), *MEMBERS.items(), method=ZIP_STORED)
    refused(patched(path, flip), WrongHash, "'README.md' cannot be unpacked")


def test_a_stream_that_is_no_deflate(path: Path) -> None:
    def spoil(content: bytearray) -> None:
        start = 30 + len("README.md")
        content[start : start + 2] = b"\xff\xff"

    write(path, ("README.md", README), ("weights.onnx", NETWORK), ("dmn.json", CONTRACT))
    refused(patched(path, spoil), WrongHash, "'README.md' cannot be unpacked")


def test_an_invalid_field(path: Path) -> None:
    bad = dmn_json(MEMBERS, threshold=1.5)
    refused(write(path, ("dmn.json", bad), *MEMBERS.items()), InvalidField, "threshold is 1.5, wanted")


def test_a_failed_certificate(path: Path) -> None:
    precisions = json.loads(CONTRACT)["precisions"]
    precisions["fp32"]["certificates"][0]["passed"] = False
    bad = dmn_json(MEMBERS, precisions=precisions)
    refused(write(path, ("dmn.json", bad), *MEMBERS.items()), InvalidField, "must not be run")


def test_dmn_json_that_is_no_json(path: Path) -> None:
    refused(write(path, ("dmn.json", b"{"), *MEMBERS.items()), InvalidField, "not strict JSON")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../weights.onnx", "leaves the archive"),
        ("a/../../weights.onnx", "leaves the archive"),
        ("./weights.onnx", "leaves the archive"),
        ("a//b", "leaves the archive"),
        ("folder/", "is a folder"),
        ("/etc/passwd", "absolute path"),
        ("C:weights.onnx", "absolute path"),
        ("C:/weights.onnx", "absolute path"),
        ("..\\weights.onnx", "backslash"),
        ("a\nb", "printable"),
        ("x" * 201, "1 to 200 characters"),
    ],
)
def test_a_member_with_an_unsafe_name(path: Path, name: str, said: str) -> None:
    contract = dmn_json({**MEMBERS, name: b"!"})
    refused(write(path, ("dmn.json", contract), *MEMBERS.items(), (name, b"!")), UnsafeMember, said)


def test_a_name_that_ends_in_a_null_byte(path: Path) -> None:
    def cut(content: bytearray) -> None:
        in_both_headers(content, 30, 46, b"READ\x00.mdx")

    write(path, ("README.md", README), ("weights.onnx", NETWORK), ("dmn.json", CONTRACT))
    refused(patched(path, cut), UnsafeMember, "printable")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("twin", ["weights.onnx", "Weights.ONNX"])
def test_a_member_that_is_there_twice(path: Path, twin: str) -> None:
    contract = dmn_json({**MEMBERS, twin: NETWORK})
    refused(write(path, ("dmn.json", contract), *MEMBERS.items(), (twin, NETWORK)), UnsafeMember, "twice")


@pytest.mark.parametrize("kind", [0o120777, 0o010644, 0o020644, 0o040755])
def test_a_member_that_is_a_link_or_a_device(path: Path, kind: int) -> None:
    info = ZipInfo("README.md")
    info.create_system, info.external_attr = 3, kind << 16
    members = (("dmn.json", CONTRACT), ("weights.onnx", NETWORK), (info, README))
    refused(write(path, *members), UnsafeMember, "link or a device")


def test_an_encrypted_member(path: Path) -> None:
    write(path, ("README.md", README), ("weights.onnx", NETWORK), ("dmn.json", CONTRACT))
    encrypted = patched(path, lambda content: in_both_headers(content, 6, 8, b"\x01\x00"))
    refused(encrypted, UnsafeMember, "encrypted")


def test_a_member_compressed_in_another_way(path: Path) -> None:
    write(path, ("dmn.json", CONTRACT), *MEMBERS.items(), method=ZIP_BZIP2)
    refused(path, UnsafeMember, "method 12")


def test_a_member_that_nobody_recorded(path: Path) -> None:
    members = (("dmn.json", CONTRACT), *MEMBERS.items(), ("run.py", b"import os"))
    refused(write(path, *members), UnsafeMember, "'run.py' is not recorded")


@pytest.mark.parametrize("magic", [b"PK\x03\x04", b"\x1f\x8b", b"BZh", b"7z\xbc\xaf"])
def test_a_nested_archive(path: Path, magic: bytes) -> None:
    members = {**MEMBERS, "inner.bin": magic + bytes(20)}
    refused(write(path, ("dmn.json", dmn_json(members)), *members.items()), UnsafeMember, "an archive itself")


def test_too_large_a_contract(path: Path) -> None:
    contract = CONTRACT + b" " * 2**20
    refused(write(path, ("dmn.json", contract), *MEMBERS.items()), OversizedMember, "at most 1048576")


def test_too_many_members(path: Path) -> None:
    members = {**MEMBERS, **{f"{i}.txt": b"" for i in range(62)}}
    refused(
        write(path, ("dmn.json", dmn_json(members)), *members.items()), OversizedMember, "lists 65 members"
    )


def test_as_many_members_as_are_allowed(path: Path) -> None:
    members = {**MEMBERS, **{f"{i}.txt": b"" for i in range(61)}}
    write(path, ("dmn.json", dmn_json(members)), *members.items())
    assert len(open_package(path).contract.members) == 63


def test_too_large_a_directory(path: Path) -> None:
    names = [ZipInfo(f"{i}.txt") for i in range(5)]
    for info in names:
        info.comment = b"x" * 0xFFFF
    write(path, ("dmn.json", CONTRACT), *MEMBERS.items(), *((info, b"") for info in names))
    refused(path, OversizedMember, "lists 8 members in 32.... bytes")


def test_a_directory_that_claims_the_64_bit_form(path: Path) -> None:
    write_valid(path)
    refused(
        patched(path, lambda c: c.__setitem__(slice(-14, -10), b"\xff" * 4)), OversizedMember, "lists 65535"
    )


def declare(content: bytearray, size: int) -> None:
    in_both_headers(content, 22, 24, struct.pack("<L", size))


def first_is_readme(path: Path) -> Path:
    return write(path, ("README.md", README), ("weights.onnx", NETWORK), ("dmn.json", CONTRACT))


def test_a_member_that_declares_too_large_a_size(path: Path) -> None:
    refused(
        patched(first_is_readme(path), lambda c: declare(c, 2**29 + 1)), OversizedMember, "536870913 bytes"
    )


def test_a_member_that_declares_too_high_a_ratio(path: Path) -> None:
    refused(
        patched(first_is_readme(path), lambda c: declare(c, 2**24 + 1)), OversizedMember, "100 times as many"
    )


def test_members_that_are_too_large_together(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package_module, "MAX_TOTAL_BYTES", len(CONTRACT) + len(NETWORK) + len(README) - 1)
    refused(write_valid(path), OversizedMember, "would unpack to")


def test_a_stream_longer_than_declared_is_not_read_to_its_end(path: Path) -> None:
    bomb = bytes(64 * 2**20)
    members = {**MEMBERS, "README.md": bomb[:100]}
    write(path, ("README.md", bomb), ("weights.onnx", NETWORK), ("dmn.json", dmn_json(members)))

    def lie(content: bytearray) -> None:
        declare(content, 100)
        in_both_headers(content, 14, 16, struct.pack("<L", zlib.crc32(bomb[:100])))

    refused(patched(path, lie), OversizedMember, "unpacks to more than the 100 bytes that it declares")


def test_a_stream_shorter_than_declared(path: Path) -> None:
    refused(patched(first_is_readme(path), lambda c: declare(c, 100)), WrongHash, "ends 93 bytes too early")


# The word demo


def test_demo_names_the_embedded_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package_module, "files", lambda _: tmp_path)
    (tmp_path / "data").mkdir()
    embedded = write_valid(tmp_path / "data" / "demo.zip")
    assert resolve_package("demo") == embedded


def test_an_install_without_the_demo_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package_module, "files", lambda _: tmp_path)
    with pytest.raises(NotAPackage, match=r"carries no demo package .*demo\.zip is missing.*: reinstall dmn"):
        resolve_package("demo")


def test_any_other_word_is_a_path() -> None:
    assert resolve_package("./demo") == Path("demo")
    assert resolve_package("mito.zip") == Path("mito.zip")
