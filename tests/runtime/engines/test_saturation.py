"""Processors before VNNI add 8-bit products in 16 bits, which saturates: the examination finds it.

OpenVINO takes such a processor's arithmetic where ONEDNN_MAX_CPU_ISA asks for AVX2.
"""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from dmn_runtime.archive import write_archive
from dmn_runtime.certificate.golden import golden_members, golden_table
from dmn_runtime.certificate.tolerance import TOLERANCES
from dmn_runtime.contract import Precision
from dmn_runtime.engines.cpu import open_cpu
from dmn_runtime.package import open_package
from dmn_runtime.tiles import crop, sigmoid

HALO_PX = 2
FORMS = {
    "int8-full": ("QUInt8", "QInt8", False),
    "int8-reduced": ("QUInt8", "QInt8", True),
}


@pytest.fixture(scope="module")
def package(
    small_package: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory, quantised: ModuleType
) -> Path:
    """Return a package of the network in two 8-bit forms, with golden answers of fp32."""
    pytest.importorskip("openvino", reason="openvino is not installed: pip install 'dmn-em[openvino]'")
    contract = open_package(small_package()).contract
    network, grey = quantised.bright_network(), quantised.grey_tiles()
    tiles = golden_table(contract.normalisation)[grey]
    answers = sigmoid(crop(open_cpu(network).run(tiles), HALO_PX))[:, None]
    members = golden_members(grey, answers) | {"weights.onnx": network}
    sound = contract.precisions["fp32"].certificates[0]
    bounds = TOLERANCES["int8"]
    loose = replace(sound, tolerance_max_dp=bounds.max_dp, tolerance_iou_change=bounds.iou_change)
    precisions = {"fp32": Precision("weights.onnx", (sound,))}
    for name, form in FORMS.items():
        members[f"{name}.onnx"] = quantised.quantised(network, tiles, *form)
        precisions[name] = Precision(f"{name}.onnx", (loose,))
    path = tmp_path_factory.mktemp("saturation") / "bright.zip"
    write_archive(path, replace(contract, precisions=precisions, stride_px=1, halo_px=HALO_PX), members)
    return path


EXAMINE = """
import json, sys
from pathlib import Path
from dmn_runtime.certificate.golden import read_golden
from dmn_runtime.engines.candidates import Candidate
from dmn_runtime.engines.openvino import open_openvino
from dmn_runtime.engines.trial import examine
from dmn_runtime.package import open_package

package = open_package(Path(sys.argv[1]))
golden = read_golden(package)
found = {}
for name in package.contract.precisions:
    runner = open_openvino(package.network(name), name, 1)
    trial = examine(package.contract, Candidate("openvino", name), runner, golden)
    found[name] = [trial.parity.max_dp, trial.parity.iou_change, trial.fault]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def examined(package: Path) -> dict[str, list[Any]]:
    """Return max |dp|, IoU change and fault of each form, by AVX2's arithmetic."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        pytest.skip("AVX2 is an instruction set of x86-64")
    done = subprocess.run(
        [sys.executable, "-c", EXAMINE, str(package)],
        env=os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, list[Any]] = json.loads(done.stdout)
    return found


def test_saturated_sums_are_found_out(examined: dict[str, list[Any]]) -> None:
    max_dp, iou_change, fault = examined["int8-full"]
    assert max_dp > 0.8
    assert iou_change > 0.5
    assert fault.startswith("it does not segment as the package's certificate says: IoU change ")


@pytest.mark.parametrize("form", ["fp32", "int8-reduced"])
def test_the_reduced_range_is_right_where_sums_saturate(examined: dict[str, list[Any]], form: str) -> None:
    max_dp, iou_change, fault = examined[form]
    assert fault is None
    assert max_dp < 0.2
    assert iou_change <= 0.005


def test_the_file_is_the_same_that_other_arithmetic_computes_rightly(package: Path) -> None:
    held = open_package(package)
    tiles = golden_table(held.contract.normalisation)[np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)]
    exact = sigmoid(open_cpu(held.network()).run(tiles))
    plain = sigmoid(open_cpu(held.network("int8-full"), optimised=False).run(tiles))
    assert np.abs(plain - exact).max() < 0.2
