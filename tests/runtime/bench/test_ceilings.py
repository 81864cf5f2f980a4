"""The ceilings' child, on arrays so small that nothing is measured by it."""

import sys

import pytest

from dmn_runtime.bench.ceilings import CeilingFault, Load, algebra_words, ceilings_in_child

TINY = Load(workers=2, window_s=0.0, copy_bytes=1000, matrix_edge=8)


def test_the_child_answers() -> None:
    found = ceilings_in_child(TINY)
    assert found.copy_bytes_per_s > 0
    assert found.matmul_all_threads_macs_per_s > 0
    assert found.matmul_1_thread_macs_per_s > 0


def test_its_algebra_keeps_to_one_thread() -> None:
    said = "import os, json; n = float(os.environ['OPENBLAS_NUM_THREADS'] + os.environ['MKL_NUM_THREADS'])"
    answer = (
        "; print(json.dumps(dict(copy_bytes_per_s=n, matmul_1_thread_macs_per_s=n, "
        "matmul_all_threads_macs_per_s=n)))"
    )
    assert ceilings_in_child(TINY, (sys.executable, "-c", said + answer)).copy_bytes_per_s == 11.0


@pytest.mark.parametrize(
    "command",
    [
        (sys.executable, "-c", "raise SystemExit(3)"),
        (sys.executable, "-c", "print('nonsense')"),
        (sys.executable, "-c", "print('{}')"),
        ("no-such-program-anywhere",),
    ],
)
def test_a_child_that_fails_is_a_fault(command: tuple[str, ...]) -> None:
    with pytest.raises(CeilingFault):
        ceilings_in_child(TINY, command)


def test_the_algebra_is_named() -> None:
    assert algebra_words(2).startswith("matrix product of numpy ")
    assert algebra_words(2).endswith("one thread a product, 2 side by side")
