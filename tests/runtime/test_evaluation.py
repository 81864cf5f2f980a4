from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dmn_runtime import evaluation
from dmn_runtime.errors import MissingExtra, UsageError, VolumeError
from dmn_runtime.evaluation import evaluate, read_mask, read_prediction, slabs
from dmn_runtime.geometry import whole
from dmn_runtime.tiles import mask_of


@dataclass
class ArrayVolume:
    """As much of a volume as an evaluation asks for."""

    array: np.ndarray
    path: str = "a.tif"
    format: str = "TIFF"

    @property
    def shape(self):
        return self.array.shape

    @property
    def dtype(self):
        return self.array.dtype

    def read(self, region):
        return self.array[region.slices].copy()


def volume(values, dtype=np.uint8, path="a.tif", kind="TIFF"):
    return ArrayVolume(np.array(values, dtype, ndmin=3), path, kind)


@given(st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9)), st.integers(1, 120))
def test_slabs_partition_the_volume_within_their_budget(shape, budget):
    seen = np.zeros(shape, int)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "SLAB_VOXELS", budget)
        for region in slabs(shape):
            assert whole(shape).contains(region)
            seen[region.slices] += 1
            assert region.size <= max(budget, shape[2])
    assert (seen == 1).all()


@given(
    hnp.arrays(np.uint8, (3, 4, 5)),
    hnp.arrays(np.uint8, (3, 4, 5), elements=st.sampled_from([0, 1, 7, 255])),
    hnp.arrays(np.uint8, (3, 4, 5), elements=st.integers(0, 1)),
    st.sampled_from([5, 7, 20, 1000]),
)
def test_equals_the_plain_computation_however_it_is_cut(probability, mask, valid, budget):
    counted = (valid > 0) & (mask != 255)
    assume(counted.any())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "SLAB_VOXELS", budget)
        found = evaluate(
            ArrayVolume(probability),
            ArrayVolume(mask),
            valid=ArrayVolume(valid),
            kind="probability",
            value_255="unlabelled",
            objects=False,
            resamples=0,
        )
    predicted, true = probability / 255 >= 0.5, (mask > 0) & counted
    assert found.true_positives == (predicted & true).sum()
    assert found.false_positives == (predicted & counted & ~true).sum()
    assert found.false_negatives == (~predicted & true).sum()
    assert found.true_negatives == (~predicted & counted & ~true).sum()
    assert found.ignored == (~counted).sum()
    ious = []
    for p, t, c in zip(predicted, true, counted, strict=True):
        if c.any():
            union = ((p & c) | t).sum()
            ious.append((p & t).sum() / union if union else 1.0)
    assert found.slices.n == len(ious)
    assert found.slices.iou_mean == pytest.approx(np.mean(ious))
    assert found.slices.iou_sd == (pytest.approx(np.std(ious, ddof=1)) if len(ious) > 1 else None)


def test_the_threshold_belongs_to_the_foreground():
    reading = read_prediction(volume([7, 255]), "probability", 128 / 255)
    assert np.flatnonzero(reading.foreground)[0] == 128
    assert np.flatnonzero(read_prediction(volume([7]), "probability", 0.5).foreground)[0] == 128
    assert read_prediction(volume([7]), "probability", 0.0).foreground.all()


@given(st.floats(0, 1) | st.integers(0, 255).map(lambda grey: grey / 255))
def test_the_threshold_is_the_one_that_inference_writes_masks_with(threshold):
    grey = volume([np.arange(256)])
    found = read_prediction(grey, "probability", threshold).foreground
    assert np.array_equal(found, mask_of(grey.array.ravel(), threshold))


@pytest.mark.parametrize(
    ("values", "dtype", "path", "form", "expected"),
    [
        ([0, 1, 1], np.uint8, "a.tif", "TIFF", "mask"),
        ([0, 255], np.uint8, "a.tif", "TIFF", "mask"),
        ([0, 0], np.uint8, "a.tif", "TIFF", "mask"),
        ([0, 1, 255], np.uint8, "a.tif", "TIFF", "probability"),
        ([0, 65535], np.uint16, "a.tif", "TIFF", "mask"),
        ([0, 1], np.uint8, "out.ome.zarr", "OME-Zarr 0.5", "probability"),
        ([0, 9], np.uint8, "out.ome.zarr/labels/mask", "OME-Zarr 0.5", "mask"),
        ([0, 9], np.uint8, "out.ome.zarr::labels/mask", "OME-Zarr 0.5", "mask"),
        ([0, 1], np.uint8, "labels/out.ome.zarr", "OME-Zarr 0.5", "probability"),
    ],
)
def test_the_kind_of_a_prediction(values, dtype, path, form, expected):
    assert read_prediction(volume(values, dtype, path, form), "auto", 0.5).kind == expected


def test_16_bit_predictions_must_say_what_they_are():
    labels = volume([0, 3, 400], np.uint16)
    with pytest.raises(UsageError, match="--kind mask or --kind probability"):
        read_prediction(labels, "auto", 0.5)
    assert read_prediction(labels, "mask", 0.5).foreground[3]
    assert not read_prediction(labels, "probability", 0.5).foreground[400]


@pytest.mark.parametrize(
    ("values", "dtype", "reading", "expected"),
    [
        ([0, 255], np.uint8, "auto", 1),
        ([0, 1, 255], np.uint8, "auto", 2),
        ([0, 1, 255], np.uint8, "foreground", 1),
        ([0, 255], np.uint8, "unlabelled", 2),
        ([0, 1, 255], np.uint16, "auto", 1),
    ],
)
def test_what_255_means_in_a_mask(values, dtype, reading, expected):
    assert read_mask(volume(values, dtype), reading).classes[255] == expected
    assert read_mask(volume(values, dtype), reading).classes[:2].tolist() == [0, 1]


def test_a_mask_that_is_decided_in_its_last_slice_is_read_to_the_end(monkeypatch):
    monkeypatch.setattr(evaluation, "SLAB_VOXELS", 2)
    values = np.zeros((5, 1, 2), np.uint8)
    values[0, 0, 0], values[4, 0, 1] = 255, 3
    assert "unlabelled" in read_mask(ArrayVolume(values), "auto").words


def test_a_mask_of_signed_bytes_is_refused():
    shifted, plain = volume([[[128, 129]]], path="m.mrc", kind="MRC"), volume([[[0, 1]]], kind="MRC")
    with pytest.raises(VolumeError, match=r"the bytes of m\.mrc are signed"):
        evaluate(plain, shifted, objects=False)
    assert evaluate(plain, plain, objects=False).volume.iou == 1.0


def test_average_precision_is_for_probabilities_only():
    mask = volume([[[0, 1, 1]]])
    assert evaluate(volume([[[0, 1, 0]]]), mask, objects=False).average_precision is None
    assert evaluate(volume([[[9, 99, 77]]]), mask, objects=False).average_precision == 1.0


def test_objects_ignore_unlabelled_voxels():
    pytest.importorskip("cc3d")
    mask = np.zeros((1, 20, 40), np.uint8)
    mask[0, 0:10, 0:10] = 1
    mask[0, 0:10, 20:30] = 255
    prediction = (mask > 0).astype(np.uint8)
    found = evaluate(ArrayVolume(prediction), ArrayVolume(mask), objects=True)
    assert (found.objects.true_positives, found.objects.false_positives) == (1, 0)
    assert found.objects.pq == 1.0


def test_shapes_that_differ_are_both_named():
    with pytest.raises(VolumeError, match=r"p\.tif is 1 x 1 x 3 .* mask m\.tif is 1 x 1 x 2") as caught:
        evaluate(volume([[[1, 0, 1]]], path="p.tif"), volume([[[1, 0]]], path="m.tif"))
    assert "\n" not in str(caught.value)
    with pytest.raises(VolumeError, match=r"valid mask v\.tif is 1 x 1 x 1"):
        evaluate(volume([[[1, 0]]]), volume([[[1, 0]]]), valid=volume([[[1]]], path="v.tif"))


def test_nothing_to_compare_is_refused():
    with pytest.raises(VolumeError, match=r"every voxel is marked as unlabelled by m\.tif and v\.tif"):
        evaluate(
            volume([[[1, 0]]]),
            volume([[[1, 0]]], path="m.tif"),
            valid=volume([[[0, 0]]], path="v.tif"),
            objects=False,
        )


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_a_threshold_that_is_no_probability_is_refused(threshold):
    with pytest.raises(UsageError, match="between 0 and 1"):
        evaluate(volume([[[1]]]), volume([[[1]]]), threshold=threshold)


def test_a_negative_number_of_resamples_is_refused():
    with pytest.raises(UsageError, match="--bootstrap is -1"):
        evaluate(volume([[[1]]]), volume([[[1]]]), resamples=-1)


def test_without_the_objects_extra_the_voxels_are_still_compared(monkeypatch):
    monkeypatch.setattr("dmn_runtime.extras.find_spec", lambda name: None)
    found = evaluate(volume([[[1, 0]]]), volume([[[1, 1]]]))
    assert found.volume.iou == 0.5
    assert found.objects is None
    assert "pip install 'dmn-em[objects]'" in found.objects_note
    with pytest.raises(MissingExtra, match="count objects"):
        evaluate(volume([[[1, 0]]]), volume([[[1, 1]]]), objects=True)


def test_masks_larger_than_the_memory_are_not_loaded(monkeypatch):
    pytest.importorskip("cc3d")
    monkeypatch.setattr(evaluation, "memory_bytes", lambda: 11)
    found = evaluate(volume([[[1]]]), volume([[[1]]]))
    assert found.objects is None
    assert "--no-objects" in found.objects_note
    with pytest.raises(UsageError, match="must fit in memory"):
        evaluate(volume([[[1]]]), volume([[[1]]]), objects=True)


@pytest.mark.em
def test_all_foreground_on_the_vnc_scores_the_foreground_share(em_data):
    import tifffile

    mask = ArrayVolume(tifffile.imread(em_data / "vnc" / "mito.tif"))
    found = evaluate(ArrayVolume(np.ones_like(mask.array)), mask, kind="mask", objects=True, resamples=10)
    assert found.volume.iou == pytest.approx(0.0539, abs=1e-4)
    assert found.objects.false_negatives == 47  # the objects of the ground truth
