"""Curves are appended, and cut back to the checkpoint on resuming."""

from pathlib import Path

from dmn_train.curves import CsvCurves, ManyCurves, TensorBoardCurves


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


def test_tensorboard_events_are_written_beside(tmp_path: Path) -> None:
    curves = ManyCurves((CsvCurves(tmp_path / "c.csv", done=0), TensorBoardCurves(tmp_path / "tb", done=0)))
    curves.add(1, {"loss": 0.5})
    curves.close()
    assert (tmp_path / "c.csv").read_text().endswith("1,loss,0.5\n")
    (events,) = (tmp_path / "tb").iterdir()
    assert b"loss" in events.read_bytes()
