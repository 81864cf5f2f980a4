"""The table of engines: what each is called, which arithmetic it runs, what it needs, how it is opened."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from dmn_runtime.engines.base import Runner
from dmn_runtime.extras import EXTRA_OF, is_present
from dmn_runtime.gpu.inquiry import visible_gpus
from dmn_runtime.package import Package


@dataclass(frozen=True)
class Order:
    """What an engine is opened for.

    Attributes:
        package: holds the network.
        precision: one that the package holds.
        workers: threads that will call at once.
        edge_px: height and width of the largest tile, halo included.
        batch: most slices in one call.
        say: takes sentences for people.
        exactly: whether a plan must be of this batch and edge, as for a run that is resumed.
    """

    package: Package
    precision: str
    workers: int
    edge_px: int
    batch: int
    say: Callable[[str], None]
    exactly: bool = False


@dataclass(frozen=True)
class Kind:
    """One kind of engine.

    Attributes:
        word: of `--engine`.
        precisions: arithmetic that it runs, of what packages may hold.
        absence: returns why this machine cannot run it, None if it can.
        open: loads a network; raises EngineError.
        has: tells whether this machine has the arithmetic of one of the precisions.
        on_gpu: whether it computes on a GPU.
    """

    word: str
    precisions: tuple[str, ...]
    absence: Callable[[], str | None]
    open: Callable[[Order], Runner]
    has: Callable[[str], bool] = lambda _: True
    on_gpu: bool = False


def _open_cpu(order: Order) -> Runner:
    from dmn_runtime.engines.cpu import open_cpu

    return open_cpu(order.package.network(order.precision))


def _open_cuda(order: Order) -> Runner:
    from dmn_runtime.engines.cuda import open_cuda

    return open_cuda(order.package.network(order.precision), order.say)


def _open_openvino(order: Order) -> Runner:
    from dmn_runtime.engines.openvino import open_openvino

    return open_openvino(order.package.network(order.precision), order.precision, order.workers)


def _open_tensorrt(library: str) -> Callable[[Order], Runner]:
    def open_plan(order: Order) -> Runner:
        from dmn_runtime.engines.tensorrt import open_tensorrt

        return open_tensorrt(library, order)

    return open_plan


def _never_absent() -> str | None:
    return None


def _without(module: str) -> Callable[[], str | None]:
    def absence() -> str | None:
        if is_present(module):
            return None
        return f"{module} is not installed: pip install 'dmn-em[{EXTRA_OF[module]}]'"

    return absence


def _no_gpu() -> str | None:
    return None if visible_gpus() else "no NVIDIA driver answers on this machine"


def _tensorrt_absence(module: str) -> Callable[[], str | None]:
    # The driver first: without a GPU nobody need install anything.
    return lambda: _no_gpu() or _without(module)() or _without_adapter()


def _without_adapter() -> str | None:
    return None if is_present("pycuda") else _without("cuda.core")()


def _openvino_has(precision: str) -> bool:
    from dmn_runtime.engines.openvino import has_bfloat16

    return precision != "bf16" or (is_present("openvino") and has_bfloat16())


def _cuda_absence() -> str | None:
    import onnxruntime

    absent = _no_gpu()
    if absent is not None:
        return absent
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        return (
            "the onnxruntime that is installed is built for the CPU: "
            "pip uninstall onnxruntime, then pip install onnxruntime-gpu"
        )
    return None


KINDS = (
    Kind(
        "tensorrt",
        ("fp16", "int8-trt", "fp32"),
        _tensorrt_absence("tensorrt"),
        _open_tensorrt("tensorrt"),
        on_gpu=True,
    ),
    Kind(
        "tensorrt_rtx",
        ("fp16", "int8-trt", "fp32"),
        _tensorrt_absence("tensorrt_rtx"),
        _open_tensorrt("tensorrt_rtx"),
        on_gpu=True,
    ),
    Kind("cuda", ("fp16", "fp32"), _cuda_absence, _open_cuda, on_gpu=True),
    Kind("openvino", ("int8", "bf16", "fp32"), _without("openvino"), _open_openvino, has=_openvino_has),
    Kind("cpu", ("int8", "fp32"), _never_absent, _open_cpu),
)
"""All engines, in the order in which one falls back on the next."""

WORDS = tuple(kind.word for kind in KINDS)


def absences_here() -> dict[str, str | None]:
    """Return why this machine cannot run each engine, None where it can."""
    return {kind.word: kind.absence() for kind in KINDS}


def kinds_here() -> tuple[Kind, ...]:
    """Return the table with only the precisions that this machine's processors have."""
    return tuple(
        replace(kind, precisions=tuple(one for one in kind.precisions if kind.has(one))) for kind in KINDS
    )


def kind_of(word: str) -> Kind:
    """Return the kind that `word` names."""
    return next(kind for kind in KINDS if kind.word == word)
