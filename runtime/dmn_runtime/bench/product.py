"""The ceiling of an engine's arithmetic: matrix products by the same kind of engine, in the same precision.

The networks are package data, written by benchmarks/make_ceiling_networks.py, which says what is in them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from time import perf_counter

import numpy as np

from dmn_runtime.bench.ceilings import CeilingFault
from dmn_runtime.bench.clocked import Seconds, rate_of, seconds_for_all
from dmn_runtime.engines.base import Runner, Tiles
from dmn_runtime.engines.candidates import Candidate
from dmn_runtime.engines.catalogue import kind_of
from dmn_runtime.errors import DmnError
from dmn_runtime.gpu.network import DeviceRunner

LAYERS = 4
CPU_EDGE, CPU_ROWS = 1024, 512
GPU_EDGE, GPU_ROWS = 4096, 4096
"""So large that a GPU's launches do not count, and few enough bytes for a small one."""

_CONV_HEIGHT = 16
_FORMS = {("openvino", "int8"): "conv"}
"""Where the convolution units do more by a 1 x 1 convolution than by MatMul (measured)."""
_FILES = {"bf16": "fp32", "int8-trt": "fp16"}
"""Precision -> the one of the file, where it is not the same: bf16 is a hint of the engine's."""
NONE_FOR_INT8 = "there is none for int8 on a GPU, which may exceed 100 % of it"


@dataclass(frozen=True)
class Product:
    """`LAYERS` products of (rows, edge) by (edge, edge), one after another.

    Attributes:
        form: "matmul" or "conv".
        edge: of the square matrix.
        rows: of what it is multiplied with.
        real: precision of the file: fp32, fp16 or int8.
        precision: what the engine is asked for.
    """

    form: str
    edge: int
    rows: int
    real: str
    precision: str

    @property
    def macs(self) -> int:
        """Multiply-adds of one call."""
        return LAYERS * self.rows * self.edge**2

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of input and output, as the runner takes them."""
        if self.form == "matmul":
            return 1, 1, self.rows, self.edge
        return 1, self.edge, _CONV_HEIGHT, self.rows // _CONV_HEIGHT

    @property
    def network(self) -> bytes:
        """The ONNX file."""
        name = f"{self.form}_{self.edge}_{self.real}.onnx"
        return files("dmn_runtime.bench").joinpath("networks", name).read_bytes()

    def image(self, seed: int) -> Tiles:
        """Return random input, from -1 to 1: numbers that are all alike compute faster."""
        return np.random.default_rng(seed).random(self.shape, np.float32) * 2 - 1


@dataclass(frozen=True)
class Ceiling:
    """Multiply-adds per second, all workers together, and what they were measured with."""

    macs_per_s: float
    words: str


def product_for(candidate: Candidate) -> Product:
    """Return the product that speaks of an engine and precision."""
    real = _FILES.get(candidate.precision, candidate.precision)
    if kind_of(candidate.engine).on_gpu:
        return Product("matmul", GPU_EDGE, GPU_ROWS, real, real)
    form = _FORMS.get((candidate.engine, candidate.precision), "matmul")
    return Product(form, CPU_EDGE, CPU_ROWS, real, candidate.precision)


def engine_ceiling(
    candidate: Candidate, workers: int, window_s: float, seconds: Seconds = perf_counter
) -> Ceiling:
    """Measure the matrix product by an engine of this kind; nothing else should be under way.

    Args:
        candidate: engine and precision.
        workers: threads side by side, on a processor.
        window_s: how long they go on there.
        seconds: clock.

    Raises:
        CeilingFault: it cannot be measured here.
    """
    product = product_for(candidate)
    try:
        if kind_of(candidate.engine).on_gpu:
            return _by_cuda(candidate, product)
        return on_processor(product, _opened(candidate.engine, product, workers), workers, window_s, seconds)
    except DmnError as error:
        raise CeilingFault(str(error)) from error
    except CeilingFault:
        raise
    except Exception as error:  # libraries raise unrelated types, and a ceiling is not worth the bench
        raise CeilingFault(f"{type(error).__name__}: {' '.join(str(error).split())}") from error


def on_processor(
    product: Product, runner: Runner, workers: int, window_s: float, seconds: Seconds = perf_counter
) -> Ceiling:
    """Measure a product on a processor, and close its runner."""
    try:
        images = [product.image(worker) for worker in range(workers)]
        seconds_for_all(images, runner.run, workers, seconds)  # the first calls allocate

        def call(image: Tiles) -> Callable[[], tuple[int, int]]:
            def once() -> tuple[int, int]:
                runner.run(image)
                return product.macs, 0

            return once

        rate = rate_of([call(image) for image in images], workers, window_s, seconds)
        words = f"{product_words(product)} by {runner.description}, {workers} side by side"
        return Ceiling(rate.px_per_s, words)
    finally:
        runner.close()


def _opened(engine: str, product: Product, workers: int) -> Runner:
    if engine == "openvino":
        from dmn_runtime.engines.openvino import open_openvino

        return open_openvino(product.network, product.precision, workers)
    from dmn_runtime.engines.cpu import open_cpu

    return open_cpu(product.network)


def _by_cuda(candidate: Candidate, product: Product) -> Ceiling:
    """Measure by ONNX Runtime on the GPU, also for TensorRT: the hardware's limit is the same."""
    from dmn_runtime.bench.gpu_ceilings import product_on_gpu
    from dmn_runtime.engines.cuda import open_cuda

    absent = kind_of("cuda").absence()
    if absent is not None:
        raise CeilingFault(f"it is measured by the engine cuda, which cannot run here: {absent}")
    runner = open_cuda(product.network, lambda _: None)
    try:
        if not isinstance(runner, DeviceRunner):
            raise CeilingFault("it is measured on the stream of a GPU, and no library for that is installed")
        found = product.macs / product_on_gpu(runner, product)
        words = f"{product_words(product)} by {runner.description}"
        return Ceiling(found, words + (f" ({NONE_FOR_INT8})" if candidate.precision == "int8-trt" else ""))
    finally:
        runner.close()


def product_words(product: Product) -> str:
    """Say what is computed."""
    how = "matrix products" if product.form == "matmul" else "1 x 1 convolutions"
    sizes = f"{product.rows} x {product.edge} by {product.edge} x {product.edge}"
    return f"{LAYERS} {how} of {sizes} in {product.precision}"
