"""What a network on a GPU offers beyond `Runner`: to run on our buffers and our stream."""

from typing import Protocol, runtime_checkable

import numpy as np

from dmn_runtime.engines.base import Runner
from dmn_runtime.gpu.device import Device, DeviceMemory, Stream
from dmn_runtime.trt.profile import Nchw


class BoundNetwork(Protocol):
    """A network tied to one stream and to the memory of one batch."""

    @property
    def stream(self) -> Stream:
        """On which it runs."""
        ...

    @property
    def image(self) -> DeviceMemory:
        """Where a batch is laid, nchw."""
        ...

    @property
    def logits(self) -> DeviceMemory:
        """Where its logits come to lie, nchw."""
        ...

    @property
    def shape(self) -> Nchw:
        """Of the batch; the logits have one channel."""
        ...

    @property
    def capturable(self) -> bool:
        """Whether `enqueue` may be captured into a graph, once it was called outside one."""
        ...

    def enqueue(self) -> None:
        """Enqueue the network on the stream.

        Raises:
            EngineError: the library refuses.
        """
        ...

    def release(self) -> None:
        """Give stream and memory back, once their work is done; a second call does nothing."""
        ...


@runtime_checkable
class DeviceRunner(Runner, Protocol):
    """A runner whose network can be bound to streams of a device."""

    @property
    def device(self) -> Device:
        """The GPU."""
        ...

    @property
    def batch_dtype(self) -> np.dtype[np.float16] | np.dtype[np.float32]:
        """Of the batch and of the logits."""
        ...

    @property
    def fixed_shape(self) -> Nchw | None:
        """The largest shape of a plan that was built for it, None where any shape may be bound."""
        ...

    @property
    def most_bound(self) -> int:
        """How many may be bound at once."""
        ...

    def bind(self, shape: Nchw) -> BoundNetwork:
        """Tie the network to a new stream.

        Args:
            shape: of every batch to come.

        Raises:
            GpuMemoryError: there is not enough memory.
            EngineError: the network does not take the shape.
        """
        ...
