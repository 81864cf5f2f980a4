"""Writing a package: whole or not at all, the same bytes each time, readable by both worlds."""

import errno
import hashlib
import io
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from bioimageio.spec import ModelDescr, ValidationContext, load_description

from dmn_export.bioimageio_model import build_members, describe
from dmn_export.package_writer import write_package
from dmn_export.test_tensors import TestTensors, cover_png
from dmn_runtime import archive as archive_module
from dmn_runtime.archive import check_output
from dmn_runtime.contract import Contract
from dmn_runtime.errors import InvalidField, OutputError
from dmn_runtime.package import open_package


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


TENSORS = TestTensors(
    np.arange(64 * 64, dtype=np.uint8).reshape(1, 1, 64, 64), np.full((1, 1, 64, 64), 0.75, np.float32)
)
FILES = {
    "cover.png": cover_png(TENSORS),
    "README.md": b"# mito\n\n## Validation\n",
    "test_input.npy": npy(TENSORS.image),
    "test_output.npy": npy(TENSORS.output),
    "weights.onnx": b"ONNX would stand here",
}


@pytest.fixture
def members(contract: Contract) -> dict[str, bytes]:
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    description = describe(contract, licence="CC-BY-4.0", timestamp=moment, test_output_peak=0.75)
    return build_members(description, FILES)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mito.zip"


def test_what_is_written_is_what_the_runtime_reads(
    path: Path, contract: Contract, members: dict[str, bytes]
) -> None:
    written = write_package(path, contract, members)
    package = open_package(path)
    assert written == package
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}
    assert package.contract == replace(contract, members=hashes)
    assert {name: package.read_member(name) for name in FILES} == FILES
    assert list(path.parent.iterdir()) == [path]


def test_bioimageio_spec_accepts_it_with_all_checks_of_files(
    path: Path, contract: Contract, members: dict[str, bytes]
) -> None:
    write_package(path, contract, members)
    with ZipFile(path) as archive, ValidationContext(perform_io_checks=True, log_warnings=False):
        description = load_description(archive)
    assert isinstance(description, ModelDescr)
    assert description.validation_summary.status == "valid-format"
    assert description.weights.onnx is not None
    assert description.weights.onnx.sha256 == hashlib.sha256(FILES["weights.onnx"]).hexdigest()
    assert description.weights.onnx.opset_version == 18
    assert str(description.license) == "CC-BY-4.0"
    assert "dmn.json" not in members["bioimageio.yaml"].decode().replace("dmn.json in this archive", "")


def test_the_same_content_gives_the_same_bytes(
    path: Path, contract: Contract, members: dict[str, bytes]
) -> None:
    write_package(path, contract, members)
    other = path.with_name("other.zip")
    write_package(other, contract, dict(reversed(members.items())))
    assert other.read_bytes() == path.read_bytes()
    with ZipFile(path) as archive:
        assert archive.namelist() == sorted([*members, "dmn.json"])
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert json.loads(archive.read("dmn.json"))["format_version"] == 2


def test_an_existing_package_stays_until_the_new_one_is_whole(
    path: Path, contract: Contract, members: dict[str, bytes]
) -> None:
    path.write_bytes(b"the former one")
    with pytest.raises(InvalidField, match=r"threshold is 2\.0"):
        write_package(path, replace(contract, threshold=2.0), members)
    assert path.read_bytes() == b"the former one"
    write_package(path, contract, members)
    assert open_package(path).contract.name == "mito"
    assert list(path.parent.iterdir()) == [path]


def test_a_contract_that_readers_would_refuse_is_not_written(
    path: Path, contract: Contract, members: dict[str, bytes]
) -> None:
    with pytest.raises(InvalidField, match=r"halo_px is 27, wanted a multiple of stride_px = 4"):
        write_package(path, replace(contract, halo_px=27), members)
    assert list(path.parent.iterdir()) == []


def test_a_description_that_bioimageio_would_refuse_is_not_written(
    path: Path, contract: Contract, members: dict[str, bytes]
) -> None:
    tampered = {**members, "test_output.npy": npy(np.full((1, 1, 64, 60), 0.75, np.float32))}
    with pytest.raises(InvalidField, match=r"bioimageio\.spec refuses .*mito\.zip"):
        write_package(path, contract, tampered)
    assert list(path.parent.iterdir()) == []


def test_an_unknown_licence_is_refused_in_one_sentence(contract: Contract) -> None:
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    description = describe(contract, licence="do what you like", timestamp=moment, test_output_peak=0.75)
    with pytest.raises(InvalidField, match=r"refuses the new package at license.*change the name") as caught:
        build_members(description, FILES)
    assert "\n" not in str(caught.value)


def test_a_full_disk_leaves_nothing(
    path: Path, contract: Contract, members: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(partial: Path, _: object) -> None:
        partial.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(archive_module, "_write_zip", fill)
    with pytest.raises(OutputError, match=r"cannot be written \(No space left on device\)"):
        write_package(path, contract, members)
    assert list(path.parent.iterdir()) == []


def test_outputs_that_make_no_sense_are_refused_first(path: Path) -> None:
    check_output(path, overwrite=False)
    with pytest.raises(OutputError, match=r"does not end in \.zip"):
        check_output(path.with_suffix(".onnx"), overwrite=False)
    with pytest.raises(OutputError, match=r"the folder .*gone does not exist"):
        check_output(path.parent / "gone" / "mito.zip", overwrite=False)
    path.write_bytes(b"")
    check_output(path, overwrite=True)
    with pytest.raises(OutputError, match=r"exists already: .*--overwrite"):
        check_output(path, overwrite=False)
    path.unlink()
    path.mkdir()
    with pytest.raises(OutputError, match="exists already"):
        check_output(path, overwrite=True)
