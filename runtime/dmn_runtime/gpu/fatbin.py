"""The compiled kernels that the wheel carries, and the record of what they were compiled from."""

import json
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files

from dmn_runtime.errors import EngineError

SOURCE_NAME = "tiles.cu"
FATBIN_NAME = "tiles.fatbin"
RECORD_NAME = "tiles.fatbin.json"


@dataclass(frozen=True)
class FatbinRecord:
    """What `make kernels` writes beside the fatbin.

    Attributes:
        source_sha256: of tiles.cu.
        fatbin_sha256: of tiles.fatbin.
        nvcc: its version, as "13.0.88".
        targets: what there is code for, as "sm_90", and "compute_75" for the text that newer drivers compile.
    """

    source_sha256: str
    fatbin_sha256: str
    nvcc: str
    targets: tuple[str, ...]


def read_record() -> FatbinRecord:
    """Return the record of the installed fatbin."""
    document = json.loads(_read(RECORD_NAME))
    return FatbinRecord(**{**document, "targets": tuple(document["targets"])})


def read_fatbin() -> bytes:
    """Return the installed fatbin.

    Raises:
        EngineError: it is not there or not the one that was recorded.
    """
    try:
        fatbin, record = _read(FATBIN_NAME), read_record()
    except OSError as error:
        raise EngineError(
            f"the GPU's kernels are missing from the install ({error}): reinstall dmn-em"
        ) from error
    if sha256(fatbin).hexdigest() != record.fatbin_sha256:
        raise EngineError(f"{FATBIN_NAME} is not the file that {RECORD_NAME} records: reinstall dmn-em")
    return fatbin


def _read(name: str) -> bytes:
    return files("dmn_runtime.gpu").joinpath(name).read_bytes()
