"""What the folder takes over from the Python that makes it: DMN itself, and the engines' versions."""

import json
import sys
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from dmn_runtime._version import __version__
from dmn_runtime.errors import UsageError

OWN_NAME = "dmn-em"
ENGINE_LIBRARIES = ("onnxruntime", "openvino", "tensorrt-rtx-cu13")


@dataclass(frozen=True)
class Here:
    """Facts of the running installation.

    Attributes:
        version: of DMN.
        source: folder that DMN was installed from, None where it came from an index.
        python: running Python, as "3.11".
        engines: engine library -> version, for those of `ENGINE_LIBRARIES` that are installed.
    """

    version: str
    source: Path | None
    python: str
    engines: tuple[tuple[str, str], ...]


def look_here() -> Here:
    """Return the facts of the running installation; reads metadata alone, imports no engine.

    Raises:
        UsageError: the record of where DMN came from cannot be read.
    """
    own = _found(OWN_NAME)
    engines = ((name, found.version) for name in ENGINE_LIBRARIES if (found := _found(name)) is not None)
    return Here(
        version=own.version if own else __version__,
        source=_source(own.read_text("direct_url.json")) if own else None,
        python=f"{sys.version_info.major}.{sys.version_info.minor}",
        engines=tuple(engines),
    )


def _found(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def _source(direct_url: str | None) -> Path | None:
    """Return the folder that PEP 610's record names; None for an index, an archive or a repository."""
    if direct_url is None:
        return None
    try:
        record = json.loads(direct_url)
        url = urlsplit(record["url"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"the record of where {OWN_NAME} was installed from cannot be read ({error!r}): "
            "give DMN's own wheel with --own-wheel FILE"
        ) from error
    if url.scheme != "file" or "dir_info" not in record:
        return None
    return Path(url2pathname(url.path))
