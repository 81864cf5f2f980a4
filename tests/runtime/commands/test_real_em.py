"""The embedded package on real tissue: what it reaches must not fall unnoticed."""

import json
from pathlib import Path

import pytest

from dmn_runtime.cli import main


@pytest.mark.em
def test_the_default_student_still_finds_mitochondria_in_a_fly(
    em_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "seg.ome.zarr"
    words = ["infer", "demo", str(em_data / "vnc" / "image.tif"), "-o", str(output)]
    assert main([*words, "--voxel-nm", "50,4.6,4.6", "--tile", "256", "--check-seams"]) == 0
    seams = json.loads((tmp_path / "seg.report.json").read_text())["seams"]
    assert seams["faces"]["voxels"] > 1000
    assert seams["faces"]["max_grey"] <= 1
    assert seams["interior"]["max_grey"] <= 1
    capsys.readouterr()
    assert main(["evaluate", str(output), str(em_data / "vnc" / "mito.tif"), "--json", "--no-objects"]) == 0
    # 0.696 when it was embedded; a broken resampling or normalisation costs far more than this margin.
    assert json.loads(capsys.readouterr().out)["volume"]["iou"] > 0.65
