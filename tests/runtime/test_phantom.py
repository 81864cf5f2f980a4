"""Phantoms: reproducible, of the shape asked for, with a truth that fits the picture; and their geometry."""

from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from dmn_runtime.errors import UsageError
from dmn_runtime.phantom import REGIMES, Phantom, make_phantom, scene
from dmn_runtime.phantom.bodies import Body, Kind, inside_cell, signed_distance
from dmn_runtime.phantom.cells import Cells, Tissue, tessellate
from dmn_runtime.phantom.density import line_profile
from dmn_runtime.phantom.fields import Grid, gaussian, noise, smoothstep, stream
from dmn_runtime.phantom.regimes import find_regime

ISOTROPIC = tuple(name for name, regime in REGIMES.items() if regime.section_nm is None)
SEEDS = {name: (11 + i, 111 + i) for i, name in enumerate(REGIMES)}


@cache
def sample(regime: str, seed: int) -> Phantom:
    return make_phantom((3, 240, 240), seed=seed, voxel_nm=12.0, regime=regime)


every_regime = pytest.mark.parametrize("regime", REGIMES)


def test_same_numbers_same_volume_other_seed_other_volume():
    one, two, other = (make_phantom((2, 64, 80), seed=s, regime="dim") for s in (5, 5, 6))
    np.testing.assert_array_equal(one.image, two.image)
    np.testing.assert_array_equal(one.mask, two.mask)
    assert (one.image != other.image).any()


@pytest.mark.parametrize("shape", [(1, 64, 64), (2, 1, 70), (5, 33, 1)])
def test_any_shape(shape):
    phantom = make_phantom(shape, seed=3)
    assert phantom.image.shape == phantom.mask.shape == shape
    assert phantom.image.dtype == phantom.mask.dtype == np.uint8
    assert set(np.unique(phantom.mask)) <= {0, 1}
    assert phantom.regime in REGIMES


@every_regime
def test_voxel_size_is_the_regimes_along_z_and_the_callers_in_the_plane(regime):
    phantom = make_phantom((1, 40, 40), seed=0, voxel_nm=8.0, regime=regime)
    assert phantom.voxel_nm == ((8.0 if regime in ISOTROPIC else 50.0), 8.0, 8.0)


def test_without_a_regime_seeds_choose_all_of_them():
    chosen = {make_phantom((1, 8, 8), seed=s, voxel_nm=40.0).regime for s in (0, 1, 4, 11, 21)}
    assert chosen == set(REGIMES)


@every_regime
def test_share_of_mitochondria_is_that_of_tissue(regime):
    for seed in SEEDS[regime]:
        assert 0.04 <= (sample(regime, seed).mask > 0).mean() <= 0.12


@every_regime
def test_mitochondria_are_darker_than_the_rest_exactly_where_the_truth_says(regime):
    for seed in SEEDS[regime]:
        phantom = sample(regime, seed)

        def contrast(down, right, phantom=phantom):
            moved = np.roll(phantom.mask, (down, right), (1, 2)) > 0
            return phantom.image[~moved].mean() - phantom.image[moved].mean()

        here = contrast(0, 0)
        assert here > 0.1 * np.ptp(np.percentile(phantom.image, [1, 99]))
        assert all(contrast(*shift) < here for shift in [(3, 0), (-3, 0), (0, 3), (0, -3)])


@every_regime
def test_slices_hang_together(regime):
    for seed in SEEDS[regime]:
        mask = sample(regime, seed).mask > 0
        pairs = pairwise(mask)
        assert all((a & b).sum() / (a | b).sum() > (0.85 if regime in ISOTROPIC else 0.45) for a, b in pairs)


@every_regime
def test_grey_values_are_spread_and_rarely_clipped(regime):
    image = sample(regime, SEEDS[regime][0]).image
    assert np.ptp(np.percentile(image, [1, 99])) > 30
    assert np.isin(image, [0, 255]).mean() < 0.05


def test_unknown_regime_is_refused_with_the_names_of_all():
    with pytest.raises(UsageError, match=f"'afm'.*{', '.join(REGIMES)}"):
        make_phantom((1, 8, 8), seed=0, regime="afm")


@pytest.mark.parametrize(
    ("shape", "voxel_nm"), [((0, 8, 8), 10.0), ((1, 8, 8), 0.0), ((1, 8, 8), float("nan"))]
)
def test_impossible_sizes_are_refused(shape, voxel_nm):
    with pytest.raises(UsageError, match="above 0"):
        make_phantom(shape, seed=0, voxel_nm=voxel_nm)


def test_drawing_does_not_depend_on_the_chunks(monkeypatch):
    composed = scene.compose((6, 70, 90), (50.0, 12.0, 12.0), find_regime("sstem"), 4)
    whole, whole_mask = scene.draw(composed)
    monkeypatch.setattr(scene, "CHUNK_VOXELS", 1)
    parts, parts_mask = scene.draw(composed)
    np.testing.assert_allclose(parts, whole, atol=1e-4)
    np.testing.assert_array_equal(parts_mask, whole_mask)


def capsule(**changes) -> Body:
    values = {
        "kind": Kind.MITOCHONDRION,
        "cell": 0,
        "edges_nm": np.array([[[0.0, 0.0, 0.0], [0.0, 0.0, 100.0]]]),
        "radius_nm": np.array([[10.0, 20.0]]),
        "crista_normal": np.array([0.0, 0.0, 1.0]),
        "crista_period_nm": 60.0,
        "tone": 0.0,
        "cristae": 1.0,
    }
    return Body(**(values | changes))


def test_distance_to_a_capsule():
    points = np.array([[0, 30, 50], [20, 0, 50], [0, 0, -15], [0, 0, 125], [3, 4, 0]], np.float32).T
    distance, steepness = signed_distance(capsule(), points)
    np.testing.assert_allclose(distance, [15, 5, 5, 5, -5], atol=1e-4)
    np.testing.assert_allclose(steepness, [0, 1, 0, 0, 0.6], atol=1e-4)


def test_a_capsules_box_holds_it():
    low, high = capsule().box(5.0)
    assert low.tolist() == [-25.0, -25.0, -15.0]
    assert high.tolist() == [25.0, 25.0, 125.0]


def test_a_body_ends_with_its_cell():
    cells = Cells(np.array([0, 0, 1]), np.array([500.0, 0.0, 500.0], np.float32), np.zeros(3, np.float32))
    cut = inside_cell(capsule(), np.full(3, -40.0, np.float32), cells, margin_nm=20.0)
    assert cut[0] == -40.0  # deep in its cell: as it was
    assert cut[1] >= 20.0  # at the membrane: at least the margin outside
    assert cut[2] == np.inf  # in another cell


def two_cells() -> Tissue:
    """Seeds of radius 100 and 200 nm, 300 nm apart along y, axes along x: the membrane lies at y = 100."""
    return Tissue(
        np.array([[0.0, 0.0, 0.0], [0.0, 300.0, 0.0]]),
        np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]]),
        np.array([100.0, 200.0]),
        np.array([0, 1]),
        np.array([0, 1]),
    )


def test_membrane_lies_where_two_cells_are_equally_far():
    y = np.array([40.0, 99.0, 101.0, 160.0], np.float32)
    points = np.stack([0 * y, y, 0 * y]).reshape(3, 1, 4, 1)
    cells = tessellate(two_cells(), points)
    assert cells.cell.ravel().tolist() == [0, 0, 1, 1]
    np.testing.assert_allclose(cells.depth_nm.ravel(), [60, 1, 1, 60], rtol=1e-3)
    np.testing.assert_allclose(cells.steepness.ravel(), 0, atol=1e-6)


def test_cells_do_not_depend_on_the_tiles():
    generator = stream(1)
    tissue = Tissue(
        generator.uniform(0, 900, (60, 3)),
        np.tile([[0.0, 0.6, 0.8]], (60, 1)),
        generator.uniform(60, 300, 60),
        np.arange(60),
        np.arange(60) // 2,
    )
    points = generator.uniform(0, 900, (3, 5, 40, 50)).astype(np.float32)
    found = tessellate(tissue, points)
    offset = points.reshape(3, -1).T[:, None].astype(np.float64) - tissue.centre
    along = offset @ np.array([0.0, 0.6, 0.8])
    distance = np.sqrt((offset**2).sum(2) - (1 - 1 / 1.7**2) * along**2) / tissue.radius
    nearest = tissue.cell[distance.argmin(1)].reshape(5, 40, 50)
    assert (found.cell == nearest).mean() > 0.9999  # float32 may differ on the membrane itself


def test_a_grazing_membrane_is_broad_and_pale():
    distance = np.array([0.0, 20.0], np.float32)
    upright = line_profile(distance, 7.0, np.zeros(2, np.float32), 50.0)
    grazing = line_profile(distance, 7.0, np.full(2, 0.9, np.float32), 50.0)
    assert upright[0] == 1.0
    assert grazing[0] < upright[0]
    assert grazing[1] > upright[1]


def test_noise_has_unit_variance_and_is_a_function_of_position():
    field = noise(stream(0), (2000.0, 2000.0, 2000.0), (50.0, 50.0, 50.0))
    axis = np.arange(0, 2000, 37.0)
    values = field.on(Grid(axis, axis, axis))
    assert abs(values.mean()) < 0.05
    assert abs(values.std() - 1) < 0.05
    part = field.on(Grid(axis[3:5], axis[7:9], axis[:4]))
    np.testing.assert_allclose(part, values[3:5, 7:9, :4], atol=1e-5)


def test_gaussian_keeps_constants_and_mass():
    np.testing.assert_allclose(gaussian(np.full((4, 9), 3.0, np.float32), 2.0, 1), 3.0, rtol=1e-6)
    impulse = np.zeros((1, 21), np.float32)
    impulse[0, 10] = 1
    spread = gaussian(impulse, 1.5, 1)[0]
    assert spread.sum() == pytest.approx(1.0)
    assert spread[12] / spread[10] == pytest.approx(np.exp(-0.5 * (2 / 1.5) ** 2), rel=1e-5)
    np.testing.assert_array_equal(gaussian(impulse, 0.0, 1), impulse)


def test_smoothstep_rises_or_falls_between_its_ends():
    at = np.array([-1.0, 0.0, 5.0, 10.0, 11.0], np.float32)
    np.testing.assert_allclose(smoothstep(0, 10, at), [0, 0, 0.5, 1, 1])
    np.testing.assert_allclose(smoothstep(10, 0, at), [1, 1, 0.5, 0, 0])
