import numpy as np
import pytest

from dmn_runtime import selftest
from dmn_runtime.contract import Normalisation
from dmn_runtime.errors import CertificateError
from dmn_runtime.package import open_package
from dmn_runtime.selftest import declared_input, run_test_tile, time_network


def test_a_whole_package_passes_its_test_tile(tested_package):
    found = run_test_tile(open_package(tested_package()))
    assert found.max_dp <= 1e-6
    assert found.tolerance == 1e-4


@pytest.mark.parametrize("shift", [2e-4, float("nan")])
def test_a_network_that_computes_otherwise_is_refused(tested_package, shift):
    with pytest.raises(CertificateError, match=r"tested\.zip differs by .* where 0\.0001 is allowed"):
        run_test_tile(open_package(tested_package(shift=shift)))


def test_the_declared_input_is_scaled_and_clipped():
    grey = np.arange(101, dtype=np.float32).reshape(1, 1, 1, 101)
    found = declared_input(grey, Normalisation(10.0, 90.0, 1.125)).ravel()
    assert found.dtype == np.float32
    assert found[[0, 10, 50, 90, 100]] == pytest.approx([-1.125, -1.0, 0.0, 1.0, 1.125], abs=1e-6)


def test_the_speed_counts_the_calls_of_all_workers(tested_package, monkeypatch):
    monkeypatch.setattr(selftest, "TIMED_EDGE_PX", 15)
    monkeypatch.setattr(selftest, "_calls_until", lambda engine, tile, end: 10)
    ticks = iter([100.0, 102.0])
    monkeypatch.setattr(selftest, "perf_counter", lambda: next(ticks))
    found = time_network(open_package(tested_package()), workers=3)
    assert found.workers == 3
    assert found.voxels_per_s == 3 * 10 * 16 * 16 / 2.0
