"""The description as bioimage.io reads it."""

import io
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dmn_export.bioimageio_model import describe, plain_name
from dmn_export.test_tensors import (
    TestTensors,
    cover_png,
    grey_from_tiles,
    make_test_tensors,
    most_foreground,
    phantom_image,
)
from dmn_runtime.contract import Contract, Normalisation
from dmn_runtime.errors import CertificateError


def described(contract: Contract, **changes: Any) -> dict[str, Any]:
    known: dict[str, Any] = {
        "licence": None,
        "timestamp": datetime(2026, 1, 2, tzinfo=UTC),
        "test_output_peak": 1.0,
    }
    return describe(contract, **(known | changes))


def test_axes_carry_stride_halo_and_pixel_size(contract: Contract) -> None:
    description = described(replace(contract, working_voxel_nm=10.0))
    channel, y = description["inputs"][0]["axes"][1:3]
    assert channel == {"type": "channel", "id": "channel", "channel_names": ["middle"]}
    assert y == {
        "type": "space",
        "id": "y",
        "unit": "nanometer",
        "scale": 10.0,
        "size": {"min": 60, "step": 4},
        "concatenable": True,
    }
    assert description["outputs"][0]["axes"][2] == {
        "type": "space",
        "id": "y",
        "unit": "nanometer",
        "scale": 10.0,
        "size": {"tensor_id": "image", "axis_id": "y"},
        "halo": 28,
    }


def test_pixel_sizes_are_the_volumes_own_where_nothing_is_resampled(contract: Contract) -> None:
    description = described(replace(contract, voxel_nm=(30.0, 4.0, 6.0)))
    assert [axis["scale"] for axis in description["inputs"][0]["axes"][2:]] == [4.0, 6.0]


def test_no_halo_is_said_where_there_is_none(contract: Contract) -> None:
    assert "halo" not in described(replace(contract, halo_px=0))["outputs"][0]["axes"][2]


def test_slices_are_named_by_their_place(contract: Contract) -> None:
    channel = described(replace(contract, in_channels=5, context_slices=2))["inputs"][0]["axes"][1]
    assert channel["channel_names"] == ["below_2", "below_1", "middle", "above_1", "above_2"]


def test_the_tolerance_follows_a_low_peak(contract: Contract) -> None:
    tolerance = described(contract, test_output_peak=0.02)["config"]["bioimageio"][
        "reproducibility_tolerance"
    ][0]
    assert tolerance["absolute_tolerance"] == pytest.approx(0.0002)


@pytest.mark.parametrize(
    ("name", "plain"),
    [("mito", "DMN mito"), ("mitochondria", "mitochondria"), ("v1.2/µ", "v1-2--"), ("x" * 200, "x" * 128)],
)
def test_names_are_spelt_as_bioimageio_allows(name: str, plain: str) -> None:
    assert plain_name(name) == plain


# The test tensors


def test_a_tile_becomes_grey_values_from_clip_to_clip() -> None:
    tile = np.array([[[[-3.0, -2.0, 0.0, 1.0, 2.0]]]], np.float32)
    grey = grey_from_tiles(tile, Normalisation(clip=2.0))
    assert grey.tolist() == [[[[0, 0, 128, 191, 255]]]]
    assert grey.dtype == np.uint8


def test_the_cover_shows_the_middle_slice_beside_the_probability() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(1, 3, 2, 2)
    cover = cover_png(TestTensors(image, np.array([[[[0.0, 1.0], [0.5, 0.2]]]], np.float32)))
    assert np.array(Image.open(io.BytesIO(cover))).tolist() == [[4, 5, 0, 255], [6, 7, 128, 51]]


def test_a_phantom_is_the_same_on_every_call() -> None:
    first, second = phantom_image(3, 64, 10.0), phantom_image(3, 64, 10.0)
    assert first.shape == (1, 3, 64, 64)
    assert first.dtype == np.uint8
    assert np.array_equal(first, second)
    assert first.std() > 5


def test_phantoms_of_other_numbers_are_others() -> None:
    images = [phantom_image(1, 64, 10.0, index) for index in range(4)]
    assert len({image.tobytes() for image in images}) == 4
    assert np.array_equal(images[0], phantom_image(1, 64, 10.0))


def test_the_tile_with_the_most_foreground_is_found() -> None:
    probability = np.zeros((3, 1, 2, 2))
    probability[1, 0, 0, 0], probability[2] = 1.0, 0.3
    assert most_foreground(probability) == 2


@pytest.mark.parametrize(("bias", "said"), [(-9.0, "at most 0.00034"), (float("nan"), "at most nan")])
def test_a_network_that_sees_nothing_is_refused(
    shifted_onnx: Callable[[float], bytes], bias: float, said: str
) -> None:
    image = np.tile(np.arange(0, 255, 8, dtype=np.uint8), (1, 1, 32, 1))
    with pytest.raises(CertificateError, match=f"{said}.*on the test image, wanted 0.01"):
        make_test_tensors(shifted_onnx(bias), image, Normalisation())
