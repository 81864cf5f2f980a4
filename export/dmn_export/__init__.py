"""Export: a finished run becomes ONNX, is certified against torch and packed into one file."""

from dmn_runtime.extras import require

require("torch", "safetensors", "onnx", "onnxscript", "bioimageio.spec", to="export a network")
