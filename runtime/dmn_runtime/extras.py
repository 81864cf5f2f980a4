"""Optional dependencies: which extra brings which package, and the sentence when one is missing."""

from importlib.util import find_spec

from dmn_runtime.errors import MissingExtra

EXTRA_OF = {
    "imagecodecs": "codecs",
    "h5py": "hdf5",
    "mrcfile": "mrc",
    "cc3d": "objects",
    "torch": "train",
    "lightning_fabric": "train",
    "kornia": "train",
    "pydantic": "train",
    "safetensors": "train",
    "skimage": "train",
    "tensorboard": "train",
    "onnx": "export",
    "onnxscript": "export",
    "bioimageio.spec": "export",
    "openvino": "openvino",
    "tensorrt": "tensorrt",
    "tensorrt_rtx": "tensorrt-rtx",
    "cuda.core": "gpu",
    "cuda.bindings": "gpu",
    "pycuda": "pycuda",
}
"""Import name -> the extra of this project that brings it."""


def is_present(name: str) -> bool:
    """Tell whether the package `name` is installed, without importing it."""
    try:
        return find_spec(name) is not None
    except (ModuleNotFoundError, ValueError):
        return False


def require(*names: str, to: str) -> None:
    """Refuse with the mending command if any of `names` is not installed.

    Only presence is asked: a package that is present and broken raises its own error.

    Args:
        names: import names, each a key of `EXTRA_OF`.
        to: what the user wanted, as an infinitive without "to" ("train a model").

    Raises:
        MissingExtra: names all that is missing at once and the command that installs it.
    """
    missing = [name for name in names if not is_present(name)]
    if missing:
        extras = ",".join(sorted({EXTRA_OF[name] for name in missing}))
        raise MissingExtra(f"to {to}, {', '.join(missing)} must be installed: pip install 'dmn-em[{extras}]'")
