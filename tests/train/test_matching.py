"""Histogram matching by table equals scikit-image's matching of the samples."""

import numpy as np
from skimage.exposure import match_histograms

from dmn_train.matching import matching_table


def test_the_table_does_what_scikit_image_does() -> None:
    rng = np.random.default_rng(0)
    source = rng.normal(100, 20, (60, 80)).clip(0, 255).astype(np.uint8)
    target = rng.gamma(3, 30, (50, 70)).clip(0, 255).astype(np.uint8)
    counts = [np.bincount(image.ravel(), minlength=256) for image in (source, target)]
    expected = match_histograms(source, target)
    matched = matching_table(counts[0], counts[1])[source]
    np.testing.assert_allclose(matched, expected, atol=1.0)  # scikit-image casts back to uint8
    np.testing.assert_allclose(
        matched, match_histograms(source.astype(float), target.astype(float)), atol=1e-9
    )


def test_grey_values_outside_the_sample_lie_between_their_neighbours() -> None:
    source = np.array([0, 5, 0, 5, 0])
    target = np.array([5, 0, 0, 0, 5])
    np.testing.assert_allclose(matching_table(source, target), [0, 0, 2, 4, 4])
