"""What a build is asked to do, as one value that travels to the child process and into the cache's key."""

from dataclasses import asdict, dataclass
from typing import Any

from dmn_runtime.errors import EngineError
from dmn_runtime.trt.library import NAMES
from dmn_runtime.trt.profile import Nchw, TileProfile
from dmn_runtime.trt.targets import FAMILIES, LINUX, WINDOWS

PRECISIONS = ("fp32", "fp16", "int8-trt")
"""Forms of the network that TensorRT builds from; the precision is in the ONNX file, not in a flag."""

RECIPE = 1
"""Version of the builder's settings: raise it when a change makes other plans from the same job."""

_MOST_LEVEL = 5


@dataclass(frozen=True)
class BuildJob:
    """A plan to build.

    Attributes:
        library: "tensorrt" or "tensorrt_rtx".
        precision: one of `PRECISIONS`, which the ONNX file must have.
        profile: the shapes that the plan takes.
        compute_capabilities: such as ("SM86", "SM89"); empty: the GPU of this computer.
        platform: `targets.LINUX` or `targets.WINDOWS`.
        optimisation_level: 0 (quick build) to 5; None: the library's own.
        contexts: how many calls may run side by side; each costs a copy of the profile in the plan.

    Raises:
        EngineError: a field is out of its range.
    """

    library: str
    precision: str
    profile: TileProfile
    compute_capabilities: tuple[str, ...] = ()
    platform: str = LINUX
    optimisation_level: int | None = None
    contexts: int = 1

    def __post_init__(self) -> None:
        capabilities = tuple(family.capability for family in FAMILIES)
        _one_of("library", self.library, tuple(NAMES))
        _one_of("precision", self.precision, PRECISIONS)
        _one_of("platform", self.platform, (LINUX, WINDOWS))
        for capability in self.compute_capabilities:
            _one_of("compute capability", capability, capabilities)
        if len(set(self.compute_capabilities)) < len(self.compute_capabilities):
            raise EngineError(
                f"a build names each GPU family once, not {', '.join(self.compute_capabilities)}"
            )
        if self.optimisation_level is not None and not 0 <= self.optimisation_level <= _MOST_LEVEL:
            raise EngineError(
                f"the optimisation level must be 0 to {_MOST_LEVEL}, not {self.optimisation_level}"
            )
        if self.contexts < 1:
            raise EngineError(f"a plan is for one context or more, not {self.contexts}")

    def to_json(self) -> dict[str, Any]:
        """Return the job as JSON's own types."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Any) -> "BuildJob":
        """Return the job that `to_json` wrote, lists for tuples.

        Raises:
            EngineError: a field is missing, unknown, of the wrong type or out of its range.
        """
        fields = _fields(document, "build job", tuple(cls.__dataclass_fields__))
        shapes = _fields(fields["profile"], "profile", tuple(TileProfile.__dataclass_fields__))
        capabilities = fields["compute_capabilities"]
        level = fields["optimisation_level"]
        if not isinstance(capabilities, list | tuple):
            raise EngineError(f"a build job's compute_capabilities must be a list, not {capabilities!r}")
        return cls(
            library=fields["library"],
            precision=fields["precision"],
            profile=TileProfile(**{name: _nchw(shape) for name, shape in shapes.items()}),
            compute_capabilities=tuple(capabilities),
            platform=fields["platform"],
            optimisation_level=None if level is None else _whole(level),
            contexts=_whole(fields["contexts"]),
        )


def _one_of(what: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        raise EngineError(f"a build's {what} must be one of {', '.join(known)}, not {value!r}")


def _fields(document: Any, what: str, names: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(document, dict) or sorted(document) != sorted(names):
        raise EngineError(f"a {what} must have exactly the fields {', '.join(names)}, not {document!r}")
    return document


def _nchw(shape: Any) -> Nchw:
    if not isinstance(shape, list | tuple) or len(shape) != 4:
        raise EngineError(f"a profile's shape must be four positive numbers (nchw), not {shape!r}")
    batch, channels, height, width = (_whole(number) for number in shape)
    return batch, channels, height, width


def _whole(number: Any) -> int:
    if not isinstance(number, int) or isinstance(number, bool):
        raise EngineError(f"a build job has whole numbers, not {number!r}")
    return number
