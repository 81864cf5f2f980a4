"""Names of an output and of what stands beside it while it is made: pure, nothing is touched on disk.

NAME                  the finished output; for TIFF the mask, with NAME.probability.tif beside it
NAME.partial          folder in which the output is built
NAME.lock             held by the run that writes
NAME.ledger.jsonl     which blocks are finished (docs/ledger.md)
NAME.replaced         the old output for the moment in which `--overwrite` puts the new one in its place
"""

from enum import Enum
from pathlib import Path

from dmn_runtime.errors import OutputError


class OutputKind(Enum):
    """What an output's suffix asks for; the value is the list of its suffixes."""

    OME_ZARR = (".ome.zarr", ".zarr")
    TIFF = (".ome.tiff", ".ome.tif", ".tiff", ".tif")


def output_kind(path: Path) -> OutputKind:
    """Tell which kind of output `path` names.

    Raises:
        OutputError: the suffix is none of the known ones.
    """
    for kind in OutputKind:
        if path.name.lower().endswith(kind.value):
            return kind
    raise OutputError(
        f"{path} does not say what to write: end the output's name in .ome.zarr (or .zarr) or in .tif "
        "(or .tiff)"
    )


def partial_path(path: Path) -> Path:
    """Return the folder in which the output `path` is built."""
    return path.with_name(path.name + ".partial")


def ledger_path(path: Path) -> Path:
    """Return where the ledger of the output `path` stands."""
    return path.with_name(path.name + ".ledger.jsonl")


def new_ledger_path(ledger: Path) -> Path:
    """Return where a ledger's header is written before it is renamed to `ledger`."""
    return ledger.with_name(ledger.name + ".new")


def lock_path(path: Path) -> Path:
    """Return where the lock of the output `path` stands while a run writes it."""
    return path.with_name(path.name + ".lock")


def replaced_path(path: Path) -> Path:
    """Return where an old output `path` stands for the moment in which it is replaced."""
    return path.with_name(path.name + ".replaced")


def probability_path(path: Path) -> Path:
    """Return the TIFF of probabilities beside the mask `path`: a.tif -> a.probability.tif."""
    suffix = next(s for s in OutputKind.TIFF.value if path.name.lower().endswith(s))
    stem, ending = path.name[: -len(suffix)], path.name[-len(suffix) :]
    return path.with_name(f"{stem}.probability{ending}")


def final_paths(path: Path) -> tuple[Path, ...]:
    """Return every path that the finished output `path` takes up, in the order in which they appear."""
    return (probability_path(path), path) if output_kind(path) is OutputKind.TIFF else (path,)
