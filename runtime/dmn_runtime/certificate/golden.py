"""The golden tiles of a package: what the trained network said of real tiles, to be said again anywhere."""

from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.contract import Normalisation
from dmn_runtime.errors import InvalidField, MissingMember
from dmn_runtime.package import Package

GOLDEN_INPUT_MEMBER = "golden_input.npy"
GOLDEN_OUTPUT_MEMBER = "golden_output.npy"
MOST_OUTPUT = 65535


@dataclass(frozen=True)
class Golden:
    """Tiles and the trained network's answer.

    Attributes:
        tiles: network input, float32 nchw.
        probability: of the trained network in fp32 for the tiles' cores (without the halo), float32 n1hw,
            exact to 1 / 65535.
    """

    tiles: NDArray[np.float32]
    probability: NDArray[np.float32]


def golden_members(grey: NDArray[np.uint8], probability: NDArray[np.floating]) -> dict[str, bytes]:
    """Return golden tiles as members of a package.

    Args:
        grey: uint8 nchw, `golden_table` turns it into network input.
        probability: of the trained network for the cores of that input, n1hw.
    """
    output = np.rint(np.asarray(probability, np.float64) * MOST_OUTPUT).astype(np.uint16)
    return {GOLDEN_INPUT_MEMBER: _npy(grey), GOLDEN_OUTPUT_MEMBER: _npy(output)}


def golden_table(rule: Normalisation) -> NDArray[np.float32]:
    """Return network input for each grey value of a golden tile: 0 to 255 are -clip to clip."""
    return np.linspace(-rule.clip, rule.clip, 256).astype(np.float32)


def read_golden(package: Package) -> Golden:
    """Read a package's golden tiles.

    Raises:
        PackageError: the package holds none, or they do not fit its network.
    """
    contract = package.contract
    missing = sorted({GOLDEN_INPUT_MEMBER, GOLDEN_OUTPUT_MEMBER} - set(contract.members))
    if missing:
        raise MissingMember(
            f"{package.path} holds no {missing[0]}, without which no engine can be examined: export it again"
        )
    grey, output = _array(package, GOLDEN_INPUT_MEMBER), _array(package, GOLDEN_OUTPUT_MEMBER)
    if grey.dtype != np.uint8 or grey.ndim != 4 or grey.shape[1] != contract.in_channels:
        raise InvalidField(
            f"{package.path}: {GOLDEN_INPUT_MEMBER} is {grey.dtype} {grey.shape}, wanted uint8 nchw with "
            f"{contract.in_channels} channels: export it again"
        )
    wanted = (len(grey), 1, *(edge - 2 * contract.halo_px for edge in grey.shape[2:]))
    if output.dtype != np.uint16 or output.shape != wanted or not output.size:
        raise InvalidField(
            f"{package.path}: {GOLDEN_OUTPUT_MEMBER} is {output.dtype} {output.shape}, "
            f"wanted uint16 {wanted}: export it again"
        )
    tiles = golden_table(contract.normalisation)[grey]
    return Golden(tiles, (output.astype(np.float64) / MOST_OUTPUT).astype(np.float32))


def _array(package: Package, member: str) -> NDArray[np.generic]:
    try:
        array: NDArray[np.generic] = np.load(BytesIO(package.read_member(member)), allow_pickle=False)
    except (ValueError, EOFError, MemoryError) as error:  # empty, or a petabyte by its head
        raise InvalidField(f"{package.path}: {member} is no NumPy file ({error}): export it again") from error
    return array


def _npy(array: NDArray[np.generic]) -> bytes:
    buffer = BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()
