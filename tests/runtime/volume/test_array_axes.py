"""Axes without names, and the index that cuts a region out."""

import numpy as np
import pytest

from dmn_runtime.errors import VolumeError
from dmn_runtime.geometry import whole
from dmn_runtime.volume.array_axes import array_index, unnamed_axes, zyx_shape


@pytest.mark.parametrize(
    ("shape", "axes", "zyx"),
    [
        ((5, 6), (0, 1), (1, 5, 6)),
        ((1, 5, 6), (0, 1, 2), (1, 5, 6)),
        ((4, 1, 6), (0, 1, 2), (4, 1, 6)),
        ((1, 4, 5, 6), (1, 2, 3), (4, 5, 6)),
        ((4, 5, 6, 1), (0, 1, 2), (4, 5, 6)),
        ((4, 1, 5, 6), (0, 2, 3), (4, 5, 6)),
        ((1, 1, 4, 1, 6), (2, 3, 4), (4, 1, 6)),
        ((1, 4, 5, 6, 1), (1, 2, 3), (4, 5, 6)),
        ((1, 1, 1, 5, 6), (2, 3, 4), (1, 5, 6)),
        ((1, 1, 1, 1), (1, 2, 3), (1, 1, 1)),
    ],
)
def test_unnamed(shape: tuple[int, ...], axes: tuple[int, ...], zyx: tuple[int, int, int]) -> None:
    assert unnamed_axes(shape, "a") == axes
    assert zyx_shape(shape, axes) == zyx
    array = np.arange(np.prod(shape)).reshape(shape)
    cut = array[array_index(len(shape), axes, whole(zyx))].reshape(zyx)
    np.testing.assert_array_equal(cut, array.reshape(zyx))


@pytest.mark.parametrize("shape", [(), (5,), (2, 3, 4, 5)])
def test_no_volume(shape: tuple[int, ...]) -> None:
    with pytest.raises(VolumeError, match=r"a volume \(z, y, x\) or an image"):
        unnamed_axes(shape, "a")
