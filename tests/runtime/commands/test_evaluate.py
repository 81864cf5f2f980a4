import json

import numpy as np
import pytest
import tifffile

from dmn_runtime.cli import main

TRUTH = np.zeros((3, 20, 20), np.uint8)
TRUTH[:, 0:10, 0:10] = 1


@pytest.fixture
def write(tmp_path):
    """Return a writer of TIFFs into the test's folder."""

    def make(name, values):
        path = tmp_path / name
        tifffile.imwrite(path, values, photometric="minisblack")
        return str(path)

    return make


def run(capsys, *words):
    status = main(["evaluate", *words])
    out, err = capsys.readouterr()
    return status, out, err


def test_the_table(write, capsys):
    probability = np.where(TRUTH == 1, 200, 30).astype(np.uint8)
    probability[:, 0:2, 0:10] = 50  # a fifth of the object is missed
    status, out, err = run(capsys, write("p.tif", probability), write("m.tif", TRUTH), "--objects")
    assert (status, err) == (0, "")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "probability: 0 to 255 = 0 to 1, foreground from 0.5)" in lines[0]
    assert "3 x 20 x 20 voxels" in lines[1]
    assert (
        lines[2]
        == "voxels 1,200 counted, 0 ignored; foreground 25.00 % of the mask, 20.00 % of the prediction"
    )
    assert "IoU 0.8000 0.8000 to 0.8000: 95 %, slices resampled 1,000 times" in lines
    assert "precision 1.0000" in lines
    assert "recall 0.8000" in lines
    assert "AP 1.0000 average precision, all thresholds" in lines
    assert "IoU 0.8000 sd 0.0000 between slices" in lines
    assert "PQ 0.8000 no interval" in lines
    assert "RQ = F1 1.0000 1 matched, 0 missed, 0 invented" in lines


def test_json_is_one_object_and_nothing_else(write, capsys):
    status, out, err = run(
        capsys,
        write("p.tif", TRUTH),
        write("m.tif", TRUTH * 255),
        "--json",
        "--no-objects",
        "--bootstrap",
        "0",
    )
    assert (status, err) == (0, "")
    found = json.loads(out)
    assert found["volume"] == {"iou": 1.0, "dice": 1.0, "precision": 1.0, "recall": 1.0, "mcc": 1.0}
    assert found["volume_iou_interval"] is None
    assert found["average_precision"] is None
    assert found["mask_words"] == "0 = background, 1 to 255 = foreground"
    assert (found["objects"], found["objects_note"]) == (None, "not asked for")
    assert found["files"]["prediction"]["shape"] == [3, 20, 20]
    assert found["slices"] == {"iou_mean": 1.0, "iou_sd": 0.0, "n": 3}


def test_a_valid_mask_leaves_voxels_out(write, capsys):
    valid = np.ones_like(TRUTH)
    valid[1] = 0
    wrong = TRUTH.copy()
    wrong[1] = 1 - wrong[1]
    files = (write("p.tif", wrong), write("m.tif", TRUTH), "--valid", write("v.tif", valid))
    _, out, _ = run(capsys, *files, "--json", "--no-objects")
    found = json.loads(out)
    assert (found["volume"]["iou"], found["ignored"], found["slices"]["n"]) == (1.0, 400, 2)


def test_a_result_of_ours_is_read_without_a_word(tmp_path, write, capsys):
    from dmn_runtime.geometry import whole
    from dmn_runtime.sink.base import SinkSpec
    from dmn_runtime.sink.open import open_sink

    path = tmp_path / "out.ome.zarr"
    spec = SinkSpec(path, (3, 20, 20), (3, 20, 20), (5.0, 5.0, 5.0), ("mitochondrion",), 0.5)
    sink = open_sink(spec, resume=False)
    sink.write(whole((3, 20, 20)), TRUTH, TRUTH)  # probabilities of 1/255, as good as empty
    sink.finish()
    sink.close()
    mask = write("m.tif", TRUTH)
    _, out, _ = run(capsys, str(path), mask, "--json", "--no-objects")
    assert (json.loads(out)["prediction_kind"], json.loads(out)["volume"]["iou"]) == ("probability", 0.0)
    _, out, _ = run(capsys, str(path / "labels" / "mask"), mask, "--json", "--no-objects")
    assert (json.loads(out)["prediction_kind"], json.loads(out)["volume"]["iou"]) == ("mask", 1.0)


def test_one_slice_has_no_interval(write, capsys):
    status, out, _ = run(capsys, write("p.tif", TRUTH[:1]), write("m.tif", TRUTH[:1]))
    assert status == 0
    assert "n = 1 slice\n" in out
    assert "no interval" in out


def test_the_voxels_are_shown_where_objects_cannot_be_counted(write, capsys, monkeypatch):
    monkeypatch.setattr("dmn_runtime.extras.find_spec", lambda name: None)
    files = write("p.tif", TRUTH), write("m.tif", TRUTH)
    status, out, _ = run(capsys, *files)
    assert status == 0
    assert (
        "objects: not counted (to count objects, cc3d must be installed: pip install 'dmn-em[objects]')"
        in out
    )
    status, out, err = run(capsys, *files, "--objects")
    assert (status, out) == (2, "")
    assert "pip install 'dmn-em[objects]'" in err


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.where(TRUTH == 1, np.nan, 0).astype(np.float32), "holds float32 values, 300 of them NaN"),
        (TRUTH.astype(np.float32), "holds float32 values, wanted whole numbers"),
        (-TRUTH.astype(np.int16), "holds int16 values down to -1"),
        (TRUTH[:2], "3 x 20 x 20 voxels (z, y, x) and the mask"),
        (np.where(TRUTH == 1, 255, 255).astype(np.uint8), "every voxel is marked as unlabelled"),
    ],
)
def test_bad_masks_are_one_sentence(write, capsys, mask, words):
    unlabelled = ("--mask-255", "unlabelled")
    status, out, err = run(capsys, write("p.tif", TRUTH), write("m.tif", mask), *unlabelled)
    assert (status, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (("--threshold", "7"), "--threshold is 7"),
        (("--threshold", "nan"), "--threshold is nan"),
        (("--bootstrap", "-3"), "--bootstrap is -3"),
    ],
)
def test_bad_options_are_one_sentence(write, capsys, option, words):
    status, _, err = run(capsys, write("p.tif", TRUTH), write("m.tif", TRUTH), *option)
    assert status == 2
    assert words in err
    assert err.count("\n") == 1


def test_more_resamples_than_anybody_waits_for_are_refused(write, capsys):
    status, _, err = run(capsys, write("p.tif", TRUTH), write("m.tif", TRUTH), "--bootstrap", "100001")
    assert status == 2
    assert "'--bootstrap': Input should be less than or equal to 100000" in err


def test_missing_files_are_one_sentence(write, tmp_path, capsys):
    status, _, err = run(capsys, str(tmp_path / "none.tif"), write("m.tif", TRUTH))
    assert (status, err.count("\n")) == (2, 1)
    assert "none.tif does not exist" in err


def test_the_help_names_every_choice(capsys):
    assert main(["evaluate", "--help"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert out.startswith("Usage: dmn evaluate [OPTIONS]")
    assert "Compare a prediction with a mask: voxels, slices and objects." in out
    for word in (
        "--valid",
        "--threshold",
        "--kind",
        "--mask-255",
        "--no-objects",
        "--bootstrap",
        "--seed",
        "--json",
    ):
        assert word in out
