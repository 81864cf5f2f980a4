"""Training: networks, adaptation methods, data, recipes and the loop that turns them into a run."""

from dmn_runtime.extras import require

require("torch", "lightning_fabric", "kornia", "pydantic", "safetensors", "skimage", to="train a network")
