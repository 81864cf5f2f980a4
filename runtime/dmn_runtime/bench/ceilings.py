"""A processor's ceilings, measured with NumPy: a large copy and a large matrix product.

They are measured in a process of their own (`python -m dmn_runtime.bench.ceilings`): only before NumPy is
loaded can its linear algebra be told to keep to one thread a call, as the engines do, and the memory that it
takes is not counted as the run's. Its standard input is one JSON object, a `Load`, its output a `Ceilings`.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any, cast

import numpy as np

from dmn_runtime.bench.clocked import Seconds, rate_of
from dmn_runtime.bench.rounds import Ceilings

COMMAND = (sys.executable, "-P", "-m", "dmn_runtime.bench.ceilings")
"""-P: a module in the working folder is not taken for ours."""

COPY_BYTES = 256 * 2**20
MATRIX_EDGE = 1024
_LONGEST_S = 300
_THREADS_OF_EACH_ALGEBRA = (
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


@dataclass(frozen=True)
class Load:
    """What is measured.

    Attributes:
        workers: threads that copy, and multiply, side by side.
        window_s: how long each of the three measurements goes on.
        copy_bytes: of the array that is copied, shared out among the threads; larger than any cache.
        matrix_edge: of the square matrices, one pair a thread.
    """

    workers: int
    window_s: float
    copy_bytes: int = COPY_BYTES
    matrix_edge: int = MATRIX_EDGE


class CeilingFault(Exception):
    """The ceilings cannot be measured; the figures that need them are left out, aloud."""


def ceilings_in_child(load: Load, command: tuple[str, ...] = COMMAND) -> Ceilings:
    """Measure the ceilings in a process of their own.

    Raises:
        CeilingFault: it could not be started, was killed or spoke nonsense.
    """
    try:
        done = subprocess.run(  # noqa: S603 (our own words, no shell)
            command,
            input=json.dumps(asdict(load)),
            capture_output=True,
            encoding="utf-8",
            timeout=_LONGEST_S,
            check=True,
            env={**os.environ, **dict.fromkeys(_THREADS_OF_EACH_ALGEBRA, "1")},
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),  # no console flashes up on Windows
        )
        return Ceilings(**json.loads(done.stdout))
    except (subprocess.SubprocessError, OSError, ValueError, TypeError) as error:
        raise CeilingFault(f"{type(error).__name__}: {' '.join(str(error).split())}") from error


def measure(load: Load, seconds: Seconds = perf_counter) -> Ceilings:
    """Measure the ceilings in this process, whose linear algebra must be single-threaded."""
    product = _products(load)
    product()  # the first call allocates
    return Ceilings(
        rate_of(_copies(load), load.workers, load.window_s, seconds).bytes_per_s,
        rate_of([product], 1, load.window_s, seconds).px_per_s,
        rate_of(
            [_products(load) for _ in range(load.workers)], load.workers, load.window_s, seconds
        ).px_per_s,
    )


def _copies(load: Load) -> list[Callable[[], tuple[int, int]]]:
    """Return one copy for each thread, between arrays that no other thread touches."""
    size = load.copy_bytes // load.workers
    generator = np.random.default_rng(0)

    def copy_of(part: int) -> Callable[[], tuple[int, int]]:
        source = np.resize(generator.integers(0, 256, min(size, 2**20)).astype(np.uint8), size)
        target = np.full(size, part % 256, np.uint8)  # touched, so that no page is missing

        def copy() -> tuple[int, int]:
            np.copyto(target, source)
            return 0, 2 * size

        return copy

    return [copy_of(part) for part in range(load.workers)]


def _products(load: Load) -> Callable[[], tuple[int, int]]:
    """Return a matrix product that tells its multiply-adds."""
    edge = load.matrix_edge
    generator = np.random.default_rng(1)
    left, right = (generator.standard_normal((edge, edge), np.float32) for _ in range(2))
    out = np.empty((edge, edge), np.float32)

    def product() -> tuple[int, int]:
        np.matmul(left, right, out=out)
        return edge**3, 0

    return product


def copy_words() -> str:
    """Say what copies."""
    return f"copy by numpy {np.__version__}"


def algebra_words(workers: int) -> str:
    """Say which linear algebra NumPy's matrix product is computed with."""
    built = cast("dict[str, Any]", np.show_config(mode="dicts"))
    blas = built.get("Build Dependencies", {}).get("blas", {})
    name = " ".join(str(blas[key]) for key in ("name", "version") if key in blas) or "its own loops"
    words = f"matrix product of numpy {np.__version__} with {name}, float32"
    return f"{words}, one thread a product, {workers} side by side"


if __name__ == "__main__":
    print(json.dumps(asdict(measure(Load(**json.load(sys.stdin))))))  # noqa: T201 (the answer)
