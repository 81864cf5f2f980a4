"""The seam's suite through the real cuda.core, over a driver of our own in the host's memory.

It runs in a process of its own: this one must not find a driver.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def cuda_headers() -> Path | None:
    """Return the folder of cuda.h, which comes with nvcc."""
    nvcc = shutil.which("nvcc")
    roots = [Path(nvcc).resolve().parents[1]] if nvcc else []
    for root in [*roots, Path("/usr/local/cuda")]:
        if (root / "include" / "cuda.h").is_file():
            return root / "include"
    return None


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the compiled driver."""
    headers = cuda_headers()
    if headers is None or sys.platform != "linux":
        pytest.skip("cuda.h is not here: install the CUDA toolkit to compile the fake driver")
    folder = tmp_path_factory.mktemp("driver")
    command = ["g++", "-std=c++17", "-O1", "-Wall", "-Werror", "-shared", "-fPIC", f"-I{headers}"]
    named = ["-Wl,-soname,libcuda.so.1", "-o", str(folder / "libcuda.so.1")]
    subprocess.run([*command, *named, str(HERE / "fake_driver" / "driver.cpp"), "-ldl"], check=True)
    return folder


@pytest.fixture
def environment(driver: Path) -> dict[str, str]:
    """Return the environment of a process that finds the fake driver and the real kernels."""
    title = "dmn_test_shim"
    spec = importlib.util.spec_from_file_location(title, HERE / "shim" / "shim.py")
    assert spec is not None
    assert spec.loader is not None
    if title not in sys.modules:
        sys.modules[title] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[title])
    kernels = sys.modules[title].compiled().library._name
    here = {name: value for name, value in os.environ.items() if name != "DMN_GPU_ADAPTER"}
    return here | {"LD_LIBRARY_PATH": str(driver), "DMN_FAKE_KERNELS": kernels}


def test_cuda_core_keeps_what_the_seam_promises(environment: dict[str, str]) -> None:
    pytest.importorskip("cuda.core", reason="cuda-core is not installed: pip install 'dmn-em[gpu]'")
    suite = [str(HERE / "test_device.py"), "-k", "cuda_core and not fake", "-p", "no:cacheprovider"]
    plugins = ["-p", "no:xdist", "-p", "no:benchmark"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugins, *suite],
        env=environment,
        cwd=HERE.parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout, done.stdout


def test_a_machine_whose_driver_finds_no_gpu(environment: dict[str, str]) -> None:
    pytest.importorskip("cuda.core", reason="cuda-core is not installed: pip install 'dmn-em[gpu]'")
    code = "from dmn_runtime.gpu.open import open_device; open_device('cuda_core')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment | {"DMN_FAKE_ABSENT": "1", "PYTHONPATH": str(HERE.parents[2] / "runtime")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "GPU 0 cannot be opened, since the driver finds no GPU (CUDA_ERROR_NO_DEVICE)" in done.stderr
