"""Which dataset of a store to take, and the sentence when it is not to be had."""

from collections.abc import Sequence

from dmn_runtime.errors import VolumeError

LISTED = 20


def only_volume(datasets: Sequence[tuple[str, tuple[int, ...]]], path: str) -> str:
    """Return the name of the only 3-D dataset of a store.

    Args:
        datasets: name and shape of each; axes of length 1 do not count.
        path: the file or store, for the message.

    Raises:
        VolumeError: there is none or more than one; the message lists what there is.
    """
    volumes = [name for name, shape in datasets if sum(n > 1 for n in shape) >= 3]
    if len(volumes) == 1:
        return volumes[0]
    if not datasets:
        raise VolumeError(f"{path} holds no datasets: check that it is the file with the image")
    raise VolumeError(f"{path} holds {listing(datasets)}: name the one to read (as {path}::name)")


def listing(datasets: Sequence[tuple[str, tuple[int, ...]]]) -> str:
    """Return "the datasets a (20x30x40), b (...)", at most `LISTED` of them."""
    if not datasets:
        return "no datasets"
    named = [f"{name} ({'x'.join(map(str, shape))})" for name, shape in datasets[:LISTED]]
    more = f" and {len(datasets) - LISTED} more" if len(datasets) > LISTED else ""
    return f"the dataset{'s' if len(datasets) > 1 else ''} {', '.join(named)}{more}"


def no_such(path: str, inner: str, datasets: Sequence[tuple[str, tuple[int, ...]]]) -> VolumeError:
    """Return the error for a path inside a store that leads nowhere."""
    return VolumeError(f"{path} has no dataset {inner!r}: it holds {listing(datasets)}")
