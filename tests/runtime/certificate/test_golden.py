"""Golden tiles: there and back, the table of grey values, and every way in which they can be unusable."""

import hashlib
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from dmn_runtime.certificate.golden import (
    GOLDEN_INPUT_MEMBER,
    GOLDEN_OUTPUT_MEMBER,
    golden_members,
    golden_table,
    read_golden,
)
from dmn_runtime.contract import Contract, Domain, Normalisation
from dmn_runtime.errors import InvalidField, MissingMember
from dmn_runtime.package import Package

RULE = Normalisation(clip=1.5)
GREY = np.random.default_rng(0).integers(0, 256, (3, 1, 4, 6)).astype(np.uint8)
PROBABILITY = np.random.default_rng(1).random((3, 1, 4, 6))


@dataclass(frozen=True)
class Held(Package):
    """A package whose members lie in memory."""

    contents: dict[str, bytes]

    def read_member(self, name: str) -> bytes:
        return self.contents[name]


def holding(contents: dict[str, bytes], in_channels: int = 1) -> Held:
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    contract = Contract(
        name="x",
        description="x",
        classes=("x",),
        in_channels=in_channels,
        context_slices=0,
        stride_px=1,
        halo_px=0,
        voxel_nm=(1.0, 1.0, 1.0),
        working_voxel_nm=None,
        normalisation=RULE,
        threshold=0.5,
        precisions={},
        domain=Domain((0.0,) * 7, 0.1),
        members=hashes,
    )
    return Held(Path("x.zip"), contract, "0" * 64, contents)


def npy(array: NDArray[np.generic]) -> bytes:
    buffer = BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def promising(items: int) -> bytes:
    """Return the head of a NumPy file of so many items, and nothing behind it."""
    buffer = BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": (items,)}
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue()


def test_there_and_back() -> None:
    golden = read_golden(holding(golden_members(GREY, PROBABILITY)))
    assert (golden.tiles.dtype, golden.probability.dtype) == (np.float32, np.float32)
    np.testing.assert_array_equal(golden.tiles, golden_table(RULE)[GREY])
    np.testing.assert_allclose(golden.probability, PROBABILITY, rtol=0, atol=0.51 / 65535)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_any_probability_comes_back_to_a_65535th(values: list[float]) -> None:
    probability = np.array(values).reshape(1, 1, 1, -1)
    golden = read_golden(holding(golden_members(np.zeros(probability.shape, np.uint8), probability)))
    assert np.abs(golden.probability - probability).max() <= 0.51 / 65535
    assert 0.0 <= golden.probability.min() <= golden.probability.max() <= 1.0


def test_grey_values_stand_for_the_whole_range_of_the_input() -> None:
    table = golden_table(RULE)
    assert (table.shape, table.dtype) == ((256,), np.float32)
    assert (table[0], table[255]) == (-1.5, 1.5)
    np.testing.assert_allclose(table, [-1.5 + 3.0 * grey / 255 for grey in range(256)], atol=1e-6)


@pytest.mark.parametrize("lost", [GOLDEN_INPUT_MEMBER, GOLDEN_OUTPUT_MEMBER])
def test_a_package_without_golden_tiles(lost: str) -> None:
    members = golden_members(GREY, PROBABILITY)
    del members[lost]
    with pytest.raises(MissingMember, match=rf"^x\.zip holds no {lost}, .*: export it again$"):
        read_golden(holding(members))


OUTPUT = np.zeros((3, 1, 4, 6), np.uint16)
FAULTS = {
    "grey values of another dtype": (GREY.astype(np.uint16), OUTPUT, r"golden_input.npy is uint16 \(3"),
    "not four axes": (GREY[:, 0], OUTPUT, r"golden_input.npy is uint8 \(3, 4, 6\), wanted uint8 nchw"),
    "another number of channels": (np.repeat(GREY, 3, axis=1), OUTPUT, "nchw with 1 channels"),
    "probability as floats": (GREY, PROBABILITY, r"golden_output.npy is float64 .* wanted uint16 \(3, 1, 4"),
    "fewer answers than tiles": (GREY, OUTPUT[:2], r"golden_output.npy is uint16 \(2, 1, 4, 6\)"),
    "answers of another size": (GREY, OUTPUT[..., :5], r"golden_output.npy is uint16 \(3, 1, 4, 5\)"),
    "no tiles at all": (GREY[:0], OUTPUT[:0], r"golden_output.npy is uint16 \(0, 1, 4, 6\)"),
    "a single number": (np.uint8(3), OUTPUT, r"golden_input.npy is uint8 \(\)"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_tiles_that_do_not_fit_the_network(fault: str) -> None:
    grey, output, said = FAULTS[fault]
    members = {GOLDEN_INPUT_MEMBER: npy(grey), GOLDEN_OUTPUT_MEMBER: npy(output)}
    with pytest.raises(InvalidField, match=said) as caught:
        read_golden(holding(members))
    assert str(caught.value).endswith(": export it again")


UNREADABLE = {
    "nothing": b"",
    "another format": b"no NumPy file",
    "a pickle": npy(np.array([{}], dtype=object)),
    "cut off": npy(OUTPUT)[:-9],
    "more than memory": promising(10**15),
}


@pytest.mark.parametrize("content", UNREADABLE.values(), ids=UNREADABLE)
def test_a_member_that_is_no_numpy_file(content: bytes) -> None:
    members = golden_members(GREY, PROBABILITY) | {GOLDEN_OUTPUT_MEMBER: content}
    with pytest.raises(InvalidField, match=r"golden_output\.npy is no NumPy file \(.*export it again$"):
        read_golden(holding(members))


def test_context_slices_are_channels() -> None:
    grey = np.repeat(GREY, 3, axis=1)
    package = holding(golden_members(grey, PROBABILITY), in_channels=3)
    assert read_golden(package).tiles.shape == (3, 3, 4, 6)
    with pytest.raises(InvalidField, match="3 channels"):
        read_golden(replace(package, contents=golden_members(GREY, PROBABILITY)))
