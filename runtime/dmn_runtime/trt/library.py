"""The two libraries behind one value: native TensorRT, and TensorRT for RTX, which builds without a GPU."""

import importlib
from dataclasses import dataclass
from typing import cast

from dmn_runtime.errors import EngineError
from dmn_runtime.extras import require
from dmn_runtime.trt.api import Api

TENSORRT = "tensorrt"
TENSORRT_RTX = "tensorrt_rtx"

NAMES = {TENSORRT: "TensorRT", TENSORRT_RTX: "TensorRT-RTX"}
"""Word, which is also the import name -> the name people know."""

_OLDEST = {TENSORRT: (11, 1), TENSORRT_RTX: (1, 7)}
"""Older ones type networks by flags that are gone, or have another plan header."""


@dataclass(frozen=True)
class Library:
    """A library that is loaded. `word`: of `--engine`; `api`: its module; `version`: as it says itself."""

    word: str
    api: Api
    version: str

    @property
    def name(self) -> str:
        """Name and version for people."""
        return f"{NAMES[self.word]} {self.version}"


def load_library(word: str) -> Library:
    """Import the library that `word` names.

    Raises:
        MissingExtra: it is not installed.
        EngineError: there is no such library, it is broken, or it is older than DMN can use.
    """
    if word not in NAMES:
        raise EngineError(f"there is no TensorRT library {word!r}: take one of {', '.join(NAMES)}")
    require(word, to=f"use {NAMES[word]}")
    try:
        module = importlib.import_module(word)
    except (ImportError, OSError, RuntimeError) as error:  # its wheels are in parts; one may be missing
        raise EngineError(
            f"{NAMES[word]} is installed and cannot be loaded ({error}): install it again, all its parts"
        ) from error
    api = cast("Api", module)
    _check_age(word, api.__version__)
    return Library(word, api, api.__version__)


def _check_age(word: str, version: str) -> None:
    oldest = _OLDEST[word]
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < oldest:
        wanted = ".".join(map(str, oldest))
        raise EngineError(
            f"{NAMES[word]} {version} is installed, {wanted} or newer is wanted: pip install --upgrade it"
        )
