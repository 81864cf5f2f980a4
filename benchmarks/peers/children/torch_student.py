"""The student as PyTorch has it: the run's weights in dmn_train's own network."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from protocol import Job
from safetensors.torch import load_file
from torch import Tensor, nn

Forward = Callable[[Tensor], Tensor]
TRAIN = Path(__file__).parents[3] / "train" / "dmn_train"


def network_of(spec: dict[str, int]) -> nn.Module:
    """Return dmn_train's U-Net, weights at random."""
    # Its files need torch alone, but dmn_train's __init__ asks for all that training needs, which would bring
    # other libraries into a peer's environment: so the package is entered without it.
    package = ModuleType("dmn_train")
    package.__path__ = [str(TRAIN)]
    sys.modules.setdefault("dmn_train", package)
    from dmn_train.networks.sizes import NetworkSpec
    from dmn_train.networks.unet import UNet

    network: nn.Module = UNet(NetworkSpec(**spec))
    return network


def load_student(job: Job) -> nn.Module:
    """Load the run's weights: eval mode, float32, on the job's device, with the job's threads."""
    torch.set_num_threads(job["cores"])
    network = network_of(job["spec"])
    network.load_state_dict(load_file(job["weights"]))
    return network.eval().to(job["device"])


class Counter:
    """Counts the pixels that go into a network until it is read."""

    def __init__(self, network: nn.Module) -> None:
        """Count from now on."""
        self._px = 0
        self._hook = network.register_forward_pre_hook(self._count)

    def _count(self, _: nn.Module, given: tuple[Tensor, ...]) -> None:
        n, _, height, width = given[0].shape
        self._px += n * height * width

    def read(self) -> int:
        """Return the pixels, and count no more."""
        self._hook.remove()
        return self._px


def forward_of(network: nn.Module, settings: dict[str, Any], device: str) -> Forward:
    """Return the network as the settings want it: `channels_last`, `compile`, `amp` (bf16, fp16 on a GPU)."""
    last = bool(settings.get("channels_last"))
    if last:
        network = network.to(memory_format=torch.channels_last)
    called: Forward = torch.compile(network) if settings.get("compile") else network

    def forward(tile: Tensor) -> Tensor:
        if last:
            tile = tile.contiguous(memory_format=torch.channels_last)
        with _arithmetic(settings, device):
            return called(tile).float()

    return forward


def to_input(grey: NDArray[np.uint8], table: NDArray[np.float32], device: str) -> Tensor:
    """Return network input, nchw float32 on the device, of slices, uint8 nhw."""
    return torch.from_numpy(table[grey][:, None]).to(device)


def _arithmetic(settings: dict[str, Any], device: str) -> AbstractContextManager[Any]:
    if not settings.get("amp"):
        return nullcontext()
    return torch.autocast(device, torch.bfloat16 if device == "cpu" else torch.float16)
