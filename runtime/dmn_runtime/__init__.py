"""The lean runtime: read a certified package, stream a volume through it, write what comes out.

This floor imports NumPy, ONNX Runtime and the readers and writers of image formats; never torch.
"""

from dmn_runtime._version import __version__

__all__ = ["__version__"]
