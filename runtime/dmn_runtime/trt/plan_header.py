"""The first 64 bytes of a TensorRT-RTX 1.7 plan, as far as they can be read without a driver.

NVIDIA does not document them; this was read off plans built for each target (docs/tensorrt.md): magic "vtrt",
at byte 16 the length of the whole plan, at 24 the version in four bytes, at 28 the magic again, at 32 one bit
a target. All numbers are little-endian.
"""

import struct
from dataclasses import dataclass

from dmn_runtime.errors import EngineError

HEADER_BYTES = 64

_MAGIC = b"vtrt"
_LAYOUT = struct.Struct("<4s12xQ4B4sI")
_BIT_OF = {"SM75": 0x01, "SM80": 0x02, "SM86": 0x04, "SM89": 0x08, "SM120": 0x10}


@dataclass(frozen=True)
class PlanHeader:
    """`version`: such as "1.7.1.116"; `plan_bytes`: the whole plan; `targets`: bits, see `has_target`."""

    version: str
    plan_bytes: int
    targets: int


def read_header(plan: bytes) -> PlanHeader:
    """Read the header of a TensorRT-RTX plan.

    Raises:
        EngineError: the bytes are no such plan, or are cut short or have grown.
    """
    if len(plan) < HEADER_BYTES:
        raise EngineError(f"{len(plan)} bytes are no TensorRT-RTX plan: build it again")
    magic, plan_bytes, *version, second, targets = _LAYOUT.unpack_from(plan)
    if (magic, second) != (_MAGIC, _MAGIC):
        raise EngineError("the file is no TensorRT-RTX plan (its header says otherwise): build it again")
    if plan_bytes != len(plan):
        raise EngineError(
            f"the plan is damaged: it has {len(plan)} bytes and says that it has {plan_bytes}; build it again"
        )
    return PlanHeader(".".join(map(str, version)), plan_bytes, targets)


def target_bits(compute_capabilities: tuple[str, ...]) -> int:
    """Return the header's bits for the given targets, such as ("SM86", "SM89")."""
    return sum(_BIT_OF[capability] for capability in compute_capabilities)
