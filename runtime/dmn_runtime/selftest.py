"""Run a package's own test tile on this machine, and time its network alone."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.contract import Normalisation
from dmn_runtime.engines.cpu import open_cpu_engine
from dmn_runtime.engines.host import HostEngine
from dmn_runtime.errors import CertificateError
from dmn_runtime.geometry import round_up
from dmn_runtime.package import Package
from dmn_runtime.plan import Footprint
from dmn_runtime.tiles import sigmoid

TEST_INPUT_MEMBER = "test_input.npy"
TEST_OUTPUT_MEMBER = "test_output.npy"
TIMED_EDGE_PX = 512
TIMED_S = 1.0
SCALE_RANGE_EPS = 1e-6
"""The default of bioimage.io's scale_range, which the test output is made with."""


@dataclass(frozen=True)
class SelfTest:
    """`max_dp`: largest difference to the package's test output; `tolerance`: of its certificate."""

    max_dp: float
    tolerance: float


@dataclass(frozen=True)
class Speed:
    """Voxels per second of the network alone, halo included, all workers together."""

    voxels_per_s: float
    workers: int


def run_test_tile(package: Package) -> SelfTest:
    """Run the package's test input through ONNX Runtime and compare with its test output.

    Raises:
        CertificateError: the probabilities differ by more than the certificate allows.
        EngineError: the network cannot be loaded.
        PackageError: the package changed while it was read.
    """
    image = _float_array(package, TEST_INPUT_MEMBER)
    expected = _float_array(package, TEST_OUTPUT_MEMBER)
    found = sigmoid(_engine(package).logits(declared_input(image, package.contract.normalisation)))
    max_dp = float(np.abs(found - expected).max())
    tolerance = package.contract.precisions["fp32"].certificates[0].tolerance_max_dp
    if not max_dp <= tolerance:  # also refuses NaN
        raise CertificateError(
            f"the network of {package.path} differs by {max_dp:.2g} in probability from its test output, "
            f"where {tolerance:.2g} is allowed: install another version of onnxruntime"
        )
    return SelfTest(max_dp, tolerance)


def declared_input(grey: NDArray[np.float32], rule: Normalisation) -> NDArray[np.float32]:
    """Return a test image (nchw, grey values) as network input, by the preprocessing of bioimageio.yaml.

    That is scale_range, scale_linear, clip. It differs from `dmn_runtime.normalise` in where the percentiles
    come from (this image, interpolated, instead of a sample of the whole volume), which is all that
    bioimage.io can express.
    """
    low, high = np.percentile(grey, [rule.low_percent, rule.high_percent])
    scaled = 2.0 * (grey - low) / (high - low + SCALE_RANGE_EPS) - 1.0
    clipped: NDArray[np.float32] = np.clip(scaled, -rule.clip, rule.clip).astype(np.float32)
    return clipped


def time_network(package: Package, workers: int) -> Speed:
    """Time the network on empty tiles for about a second: one single-threaded call a worker, as in a run."""
    contract = package.contract
    edge = round_up(TIMED_EDGE_PX, contract.stride_px)
    tile = np.zeros((1, contract.in_channels, edge, edge), np.float32)
    engine = _engine(package)
    engine.logits(tile)  # the first call allocates
    with ThreadPoolExecutor(workers) as pool:
        start = perf_counter()
        calls = sum(pool.map(lambda _: _calls_until(engine, tile, start + TIMED_S), range(workers)))
        spent = perf_counter() - start
    return Speed(calls * edge * edge / spent, workers)


def _calls_until(engine: HostEngine, tile: NDArray[np.float32], end: float) -> int:
    calls = 0
    while perf_counter() < end:
        engine.logits(tile)
        calls += 1
    return calls


def _engine(package: Package) -> HostEngine:
    contract = package.contract
    footprint = Footprint(contract.stride_px, contract.halo_px, contract.context_slices)
    return open_cpu_engine(package.network(), np.zeros(256, np.float32), footprint)


def _float_array(package: Package, member: str) -> NDArray[np.float32]:
    array: NDArray[np.generic] = np.load(BytesIO(package.read_member(member)), allow_pickle=False)
    return array.astype(np.float32)
