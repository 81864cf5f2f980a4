"""The test input and output that travel in a package, in the terms of bioimage.io.

The input is a grey image as a microscope gives it, the output a probability; what lies between is the
preprocessing that the package declares, as the runtime's self-test repeats it.
"""

from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dmn_export.certify import probability, run_onnx
from dmn_runtime.contract import Normalisation
from dmn_runtime.errors import CertificateError
from dmn_runtime.phantom import REGIMES, make_phantom
from dmn_runtime.selftest import declared_input

LEAST_PEAK = 0.01
"""A test output that never reaches this probability tests nothing."""

_PHANTOM_SEED = 7
_GREY_LEVELS = 255


@dataclass(frozen=True)
class TestTensors:
    """`image`: uint8 nchw, n = 1; `output`: probability, float32 nchw, of the same height and width."""

    __test__ = False  # pytest would take the name for a test's

    image: NDArray[np.uint8]
    output: NDArray[np.float32]


def make_test_tensors(onnx_file: bytes, image: NDArray[np.uint8], rule: Normalisation) -> TestTensors:
    """Run the exported network on a grey image, as a reader of bioimage.io packages would.

    Raises:
        CertificateError: the network sees next to nothing in the image, so that nothing would be tested.
    """
    tensor = declared_input(image.astype(np.float32), rule)
    output = probability(run_onnx(onnx_file, tensor)).astype(np.float32)
    peak = float(output.max())
    # Asked the positive way round, so that NaN fails.
    if peak >= LEAST_PEAK:
        return TestTensors(image, output)
    raise CertificateError(
        f"the network gives a probability of at most {peak:.2g} on the test image, wanted {LEAST_PEAK:g} "
        "somewhere: train it longer, or choose the other --test-input"
    )


def cover_png(tensors: TestTensors) -> bytes:
    """Return a picture of a package as PNG: the middle slice of its test input, and beside it the output."""
    image = tensors.image[0, tensors.image.shape[1] // 2]
    output = np.rint(tensors.output[0, 0] * _GREY_LEVELS).astype(np.uint8)
    buffer = BytesIO()
    Image.fromarray(np.hstack([image, output])).save(buffer, "png", optimize=True)
    return buffer.getvalue()


def grey_from_tiles(tiles: NDArray[np.float32], rule: Normalisation) -> NDArray[np.uint8]:
    """Return normalised tiles, nchw, as 8-bit images, nchw: [-clip, clip] becomes 0 to 255."""
    grey = (np.clip(tiles, -rule.clip, rule.clip) + rule.clip) / (2.0 * rule.clip) * _GREY_LEVELS
    image: NDArray[np.uint8] = np.rint(grey).astype(np.uint8)
    return image


def phantom_image(in_channels: int, edge_px: int, voxel_nm: float, index: int = 0) -> NDArray[np.uint8]:
    """Return made-up tissue, uint8 nchw, with neighbouring slices as channels; the same on every call.

    `index` numbers such images; several regimes take turns.
    """
    regime = tuple(REGIMES)[index % len(REGIMES)]
    shape, seed = (in_channels, edge_px, edge_px), _PHANTOM_SEED + index
    return make_phantom(shape, seed=seed, voxel_nm=voxel_nm, regime=regime).image[None]


def most_foreground(tiles_probability: NDArray[np.floating]) -> int:
    """Return the index of the tile with the most foreground; `tiles_probability` is nchw."""
    return int(np.argmax(tiles_probability.mean(axis=(1, 2, 3))))
