"""The state of an unfinished run in one safetensors file: no pickle, whole or absent.

Tensors are named objective.*, average.* and optimiser.<parameter>.<moment>; the metadata holds the step and
the loss scaler. Batches and learning rates are functions of the step, so there is nothing else to keep.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from dmn_runtime.errors import RunError
from dmn_train.files import write_whole
from dmn_train.learner import Learner
from dmn_train.select import Scored


@dataclass(frozen=True)
class State:
    """How far a run has come.

    Attributes:
        step: steps done.
        validations: what the choice of weights is made from.
        scaler: JSON-able state of the loss scaler.
    """

    step: int
    validations: list[Scored]
    scaler: dict[str, Any]


def save_checkpoint(path: Path, learner: Learner, state: State) -> None:
    """Write what the run has learned and how far it has come."""
    tensors = {
        **_prefixed("objective", learner.objective.state_dict()),
        **_prefixed("average", learner.average.state_dict()),
        **_optimiser_tensors(learner.optimiser),
    }
    metadata = {
        "step": str(state.step),
        "validations": json.dumps(state.validations),
        "scaler": json.dumps(state.scaler),
    }
    write_whole(path, lambda partial: save_file(tensors, partial, metadata))


def load_checkpoint(path: Path, learner: Learner) -> State:
    """Put what `path` has learned into `learner`; return how far the run had come.

    Raises:
        RunError: the file is damaged or of another network.
    """
    try:
        with safe_open(path, framework="pt") as archive:
            tensors = {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118 no mapping
            metadata = archive.metadata()
        learner.objective.load_state_dict(_under("objective", tensors))
        learner.average.load_state_dict(_under("average", tensors))
        _load_optimiser(learner.optimiser, _under("optimiser", tensors))
        validations = [Scored(*pair) for pair in json.loads(metadata["validations"])]
        return State(int(metadata["step"]), validations, json.loads(metadata["scaler"]))
    except (OSError, SafetensorError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise RunError(f"{path} cannot be resumed from ({error}): start again with --overwrite") from error


def plain_weights(network: nn.Module) -> dict[str, Tensor]:
    """Return a network's state on the CPU, contiguous, for safetensors."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}


def _prefixed(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor.detach().cpu().contiguous() for name, tensor in state.items()}


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name[len(prefix) + 1 :]: t for name, t in tensors.items() if name.startswith(f"{prefix}.")}


def _optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = optimiser.state_dict()["state"]
    return {
        f"optimiser.{parameter}.{moment}": tensor.detach().cpu().contiguous()
        for parameter, moments in state.items()
        for moment, tensor in moments.items()
    }


def _load_optimiser(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        parameter, _, moment = name.partition(".")
        state.setdefault(int(parameter), {})[moment] = tensor
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
