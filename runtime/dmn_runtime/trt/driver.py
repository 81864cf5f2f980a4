"""Is there an NVIDIA driver? Asked through its C library alone, before any other library touches a GPU.

TensorRT's `Runtime` without a driver is an object that ends the process when it is freed (seen with the lean
runtime 11.4), so the question comes first.
"""

import ctypes
import sys

from dmn_runtime.errors import EngineError

DRIVER_LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"

_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR of cuda.h


def require_driver(name: str = DRIVER_LIBRARY) -> ctypes.CDLL:
    """Return the driver's library, initialised.

    Args:
        name: of the shared library.

    Raises:
        EngineError: there is no driver, or it finds no GPU.
    """
    try:
        driver = ctypes.CDLL(name)
    except OSError as error:
        raise EngineError(
            f"this computer has no NVIDIA driver ({name} cannot be loaded): install it, or do without"
        ) from error
    status = driver.cuInit(0)
    if status != 0:
        raise EngineError(
            f"the NVIDIA driver finds no GPU that it can use (cuInit returned {status}): see what nvidia-smi "
            "says, or run without the GPU"
        )
    return driver


def first_compute_capability() -> str:
    """Return the compute capability of the first visible GPU, such as "8.6".

    Raises:
        EngineError: there is no driver or no GPU.
    """
    driver = require_driver()
    device = ctypes.c_int()
    numbers = [ctypes.c_int(), ctypes.c_int()]
    status = driver.cuDeviceGet(ctypes.byref(device), 0)
    for number, attribute in zip(numbers, (_MAJOR, _MINOR), strict=True):
        status = status or driver.cuDeviceGetAttribute(ctypes.byref(number), attribute, device)
    if status != 0:
        raise EngineError(
            f"the NVIDIA driver does not describe its GPU (error {status}): see what nvidia-smi says"
        )
    return f"{numbers[0].value}.{numbers[1].value}"
