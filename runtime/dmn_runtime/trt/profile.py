"""Which shapes a plan takes, and how a batch of tiles is cut into them: integers only."""

from collections.abc import Sequence
from dataclasses import dataclass

from dmn_runtime.errors import EngineError

Nchw = tuple[int, int, int, int]

_AXES = ("batch", "channels", "height", "width")


@dataclass(frozen=True)
class TileProfile:
    """The shapes that a plan takes, nchw: the smallest, the one it is tuned for, the largest.

    Raises:
        EngineError: a shape has not four positive axes, they are out of order, or the channels differ.
    """

    least: Nchw
    best: Nchw
    most: Nchw

    def __post_init__(self) -> None:
        for shape in (self.least, self.best, self.most):
            if len(shape) != len(_AXES) or min(shape) < 1:
                raise EngineError(f"a profile's shape must be four positive numbers (nchw), not {shape}")
        for axis, least, best, most in zip(_AXES, self.least, self.best, self.most, strict=True):
            if not least <= best <= most:
                raise EngineError(
                    f"a profile's {axis} must grow from least over best to most, not {least}, {best}, {most}"
                )
        if self.least[1] != self.most[1]:
            raise EngineError(
                f"a network has one number of channels, a profile gives {self.least[1]} to {self.most[1]}"
            )


@dataclass(frozen=True)
class Pass:
    """One call: tiles `start` to `stop` in a tensor of `shape` nchw, which the plan takes, zeros around."""

    start: int
    stop: int
    shape: Nchw


def fixed_profile(channels: int, edge_px: int, most_batch: int) -> TileProfile:
    """Return the profile of one tile size and any batch up to `most_batch`, for which it is tuned.

    Args:
        channels: of the network's input.
        edge_px: height and width of a tile with its halo, a multiple of the network's stride.
        most_batch: largest batch.
    """
    most = (most_batch, channels, edge_px, edge_px)
    return TileProfile((1, channels, edge_px, edge_px), most, most)


def dynamic_profile(
    channels: int, stride_px: int, best_edge_px: int, most_edge_px: int, most_batch: int
) -> TileProfile:
    """Return the profile of any tile from one stride to `most_edge_px`, tuned for `best_edge_px`.

    Raises:
        EngineError: an edge is no multiple of the stride, or they are out of order.
    """
    for edge_px in (best_edge_px, most_edge_px):
        if edge_px % stride_px:
            raise EngineError(f"a tile's edge must be a multiple of the stride {stride_px}, not {edge_px}")
    return TileProfile(
        (1, channels, stride_px, stride_px),
        (most_batch, channels, best_edge_px, best_edge_px),
        (most_batch, channels, most_edge_px, most_edge_px),
    )


def plan_passes(tiles: Sequence[int], profile: TileProfile) -> tuple[Pass, ...]:
    """Cut a batch into calls of the network.

    A tile smaller than the smallest shape is padded with zeros on the right and below. That is harmless where
    the tile carries its halo, as the runtime's tiles do: padding reaches no further inwards than the halo,
    which is cut off.

    Args:
        tiles: shape nchw of the batch; n may be 0.
        profile: of the plan.

    Raises:
        EngineError: a tile is larger than the plan takes, or has other channels.
    """
    batch, channels, height, width = tiles
    if channels != profile.most[1]:
        raise EngineError(
            f"the plan takes tiles of {profile.most[1]} channels, not {channels}: build it again"
        )
    if height > profile.most[2] or width > profile.most[3]:
        raise EngineError(
            f"the plan takes tiles of at most {profile.most[2]} x {profile.most[3]} px, not {height} x "
            f"{width}: build it for this tile size"
        )
    padded = (max(height, profile.least[2]), max(width, profile.least[3]))
    passes = []
    for start in range(0, batch, profile.most[0]):
        stop = min(start + profile.most[0], batch)
        passes.append(Pass(start, stop, (max(stop - start, profile.least[0]), channels, *padded)))
    return tuple(passes)
