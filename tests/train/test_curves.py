"""Curves are appended, and cut back to the checkpoint on resuming."""

import errno
import os
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dmn_runtime.errors import OutputError, RunError
from dmn_train.curves import CsvCurves, ManyCurves, TensorBoardCurves, last_value


def test_lines_of_later_steps_and_torn_lines_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "curves.csv"
    curves = CsvCurves(path, done=0)
    curves.add(1, {"loss": 0.5, "lr": 1e-3})
    curves.add(2, {"loss": 0.25})
    curves.close()
    assert path.read_bytes() == b"step,name,value\n1,loss,0.5\n1,lr,0.001\n2,loss,0.25\n"
    with path.open("a") as stream:
        stream.write("3,lo")
    CsvCurves(path, done=1).close()
    assert path.read_bytes() == b"step,name,value\n1,loss,0.5\n1,lr,0.001\n"


def test_the_last_value_of_a_curve(tmp_path: Path) -> None:
    path = tmp_path / "curves.csv"
    path.write_text("step,name,value\n1,loss,0.5\n1,shift,2\n2,loss,0.25\n2,shift,1.5\n3,loss,0.125\n")
    assert last_value(path, "shift") == 1.5
    assert last_value(path, "none") is None
    path.write_text("step,name,value\n1,shift,much\n")
    with pytest.raises(RunError, match=r"curves.csv cannot be read .*: put it back, or train again$"):
        last_value(path, "shift")
    path.unlink()
    with pytest.raises(RunError, match=r"curves.csv is missing: put it back, or train again$"):
        last_value(path, "shift")


def test_tensorboard_events_are_written_beside(tmp_path: Path) -> None:
    curves = ManyCurves((CsvCurves(tmp_path / "c.csv", done=0), TensorBoardCurves(tmp_path / "tb", done=0)))
    curves.add(1, {"loss": 0.5})
    curves.close()
    assert (tmp_path / "c.csv").read_text().endswith("1,loss,0.5\n")
    (events,) = (tmp_path / "tb").iterdir()
    assert b"loss" in events.read_bytes()


def test_pictures_go_to_tensorboard_alone(tmp_path: Path) -> None:
    rgb = np.zeros((2, 3, 3), np.uint8)
    rgb[1, 2] = (255, 60, 160)
    curves = ManyCurves((CsvCurves(tmp_path / "c.csv", done=0), TensorBoardCurves(tmp_path / "tb", done=0)))
    curves.picture(7, "overlays/0", rgb)
    curves.close()
    assert (tmp_path / "c.csv").read_text() == "step,name,value\n"
    events = EventAccumulator(str(tmp_path / "tb")).Reload()
    (image,) = events.Images("overlays/0")
    assert (image.step, image.height, image.width) == (7, 2, 3)
    png = Image.open(BytesIO(image.encoded_image_string))
    np.testing.assert_array_equal(np.asarray(png), rgb)


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    csv, events = CsvCurves(tmp_path / "c.csv", done=0), TensorBoardCurves(tmp_path / "tb", done=0)
    with monkeypatch.context() as full:
        full.setattr(csv._file, "write", fail, raising=False)
        full.setattr(csv._file, "close", fail, raising=False)
        full.setattr(events._writer, "add_scalar", fail)
        full.setattr(events._writer, "add_image", fail)
        full.setattr(events._writer, "close", fail)
        with pytest.raises(OutputError, match=r"tb cannot be written \(No space left on device\)"):
            events.picture(1, "overlay", np.zeros((2, 3, 3), np.uint8))
        for curves, name in ((csv, "c.csv"), (events, "tb")):
            with pytest.raises(OutputError, match=rf"{name} cannot be written \(No space left on device\)"):
                curves.add(1, {"loss": 0.5})
            with pytest.raises(OutputError, match=rf"{name} cannot be written \(No space left on device\)"):
                curves.close()
    ManyCurves((csv, events)).close()
