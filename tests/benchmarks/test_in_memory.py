"""From memory to memory: what the RAM benchmarks time is what `dmn infer` makes."""

import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from dmn_runtime.inference import Watch, infer
from dmn_runtime.package import resolve_package
from dmn_runtime.phantom import make_phantom
from dmn_runtime.setup import Options

CHILDREN = Path(__file__).parents[2] / "benchmarks" / "peers" / "children"
NM = (50.0, 10.0, 10.0)


def test_the_peers_child_gives_what_a_run_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DMN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "path", [str(CHILDREN), *sys.path])
    import dmn_ram

    voxels = make_phantom((10, 96, 120), seed=1, voxel_nm=10.0, regime="sstem").image  # two blocks
    stack, output = tmp_path / "stack.tif", tmp_path / "seg.tif"
    tifffile.imwrite(stack, voxels, photometric="minisblack")
    job = {"package": str(resolve_package("demo")), "cores": 2, "voxel_nm": NM}
    ready = dmn_ram.make(job, {"engine": "cpu", "precision": "fp32"})
    made = ready.segment(voxels)
    options = Options("demo", str(stack), output, NM, engine="cpu", precision="fp32", workers=2)
    infer(options, Watch(lambda _: None, lambda _: None, lambda _: None))
    np.testing.assert_array_equal(made.probability, tifffile.imread(tmp_path / "seg.probability.tif"))
    assert made.probability[8:].any()  # of the last block
    assert made.seconds > 0
    assert made.detail["precision"] == "fp32"
    assert ready.computed_px() > 96 * 120
