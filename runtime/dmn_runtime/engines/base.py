"""What every engine offers (docs/engines.md)."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.plan import Block
from dmn_runtime.volume.base import Voxels

Tiles = NDArray[np.float32]


class Runner(Protocol):
    """A bare network, loaded and ready. `run` may be called from several threads at once."""

    @property
    def description(self) -> str:
        """Library, version and device, for the report."""
        ...

    def run(self, tiles: Tiles) -> Tiles:
        """Return the logits, float32 nchw, of network input, float32 nchw."""
        ...

    def close(self) -> None:
        """Free what the runner holds."""
        ...


class Engine(Protocol):
    """A network ready to run, with normalisation, activation and quantisation around it."""

    @property
    def name(self) -> str:
        """The word of `--engine` ("cpu", ...)."""
        ...

    @property
    def description(self) -> str:
        """Precision, library, version and device, for the report."""
        ...

    def logits(self, tiles: Tiles) -> Tiles:
        """Run the bare network: network input in, logits out, both float32 nchw."""
        ...

    def segment(self, patch: Voxels) -> NDArray[np.uint8]:
        """Return the probability of the patch's core, 255 = certain.

        Args:
            patch: zyx voxels on the working grid with `context` slices more on both sides of z and `halo`
                pixels more on both sides of y and x, already reflected where the volume ends; y and x are
                multiples of the network's stride.

        Returns:
            zyx probability without context and halo. May be called from several threads at once.
        """
        ...

    def close(self) -> None:
        """Free what the engine holds."""
        ...


class BlockEngine(Protocol):
    """An engine that takes whole blocks and cuts the tiles itself, on a GPU."""

    @property
    def name(self) -> str:
        """The word of `--engine` ("cuda", ...)."""
        ...

    @property
    def description(self) -> str:
        """Precision, library, version and device, for the report."""
        ...

    def segment_block(self, block: Block, patch: Voxels, probability: NDArray[np.uint8]) -> None:
        """Write the probability of a block's core, 255 = certain.

        Args:
            block: of the plan that the engine was opened for.
            patch: zyx voxels of `inside(block.read)`: what of the block's read lies in the volume.
            probability: uint8 zyx over `block.core`, written whole. May be called from several threads at
                once.
        """
        ...

    def segment(self, patch: Voxels) -> NDArray[np.uint8]:
        """Return the probability of a patch's core; as `Engine.segment`."""
        ...

    def close(self) -> None:
        """Free what the engine holds."""
        ...
