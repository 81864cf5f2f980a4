"""A table of engines that are told how to behave, all of them the small network beneath."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from dmn_runtime.archive import write_archive
from dmn_runtime.contract import Precision
from dmn_runtime.engines import catalogue, choose, examination
from dmn_runtime.engines.base import Runner, Tiles
from dmn_runtime.engines.candidates import Candidate
from dmn_runtime.engines.catalogue import Kind, Order
from dmn_runtime.engines.cpu import open_cpu
from dmn_runtime.errors import EngineError
from dmn_runtime.package import Package, open_package

SLOW, FAST = 1e6, 9e6


@dataclass
class Model:
    """How an engine behaves.

    Attributes:
        precisions: that it runs.
        spoil: what it makes of right logits; may raise.
        speed: voxels per second; the error with which it stops under load.
        speeds: precision -> the same, where it is another.
        absent: why the machine cannot run it.
        refuses: why it cannot be opened; an error of another kind that opening raises.
        lacks: precisions whose arithmetic the machine does not have.
        on_gpu: whether it computes on a GPU.
        plan: ends its description.
    """

    precisions: tuple[str, ...] = ("fp32",)
    spoil: Callable[[Tiles], Tiles] = lambda logits: logits
    speed: float | Exception = SLOW
    speeds: Mapping[str, float] = field(default_factory=dict)
    absent: str | None = None
    refuses: str | Exception | None = None
    lacks: tuple[str, ...] = ()
    on_gpu: bool = False
    plan: str = "no device"


@dataclass
class Told:
    """A runner that does as its model says."""

    right: Runner
    model: Model
    description: str
    closed: int = 0

    def run(self, tiles: Tiles) -> Tiles:
        return self.model.spoil(self.right.run(tiles))

    def close(self) -> None:
        self.closed += 1


@dataclass
class Fleet:
    """The table, and what was opened of it."""

    models: dict[str, Model]
    opened: list[str] = field(default_factory=list)
    runners: list[Told] = field(default_factory=list)
    timed: list[tuple[str, ...]] = field(default_factory=list)
    tiles: dict[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def kinds(self) -> tuple[Kind, ...]:
        return tuple(
            Kind(
                word,
                model.precisions,
                self._absence(word),
                self._opener(word),
                has=lambda precision, model=model: precision not in model.lacks,
                on_gpu=model.on_gpu,
            )
            for word, model in self.models.items()
        )

    def _absence(self, word: str) -> Callable[[], str | None]:
        return lambda: self.models[word].absent

    def _opener(self, word: str) -> Callable[[Order], Runner]:
        def open_told(order: Order) -> Runner:
            model = self.models[word]
            self.opened.append(f"{word} {order.precision}")
            if isinstance(model.refuses, Exception):
                raise model.refuses
            if model.refuses is not None:
                raise EngineError(model.refuses)
            network = open_cpu(order.package.network("fp32"))
            self.runners.append(Told(network, model, f"{word} 1.0, {model.plan}"))
            return self.runners[-1]

        return open_told

    def time(
        self, runners: Iterable[Candidate], tiles: Mapping[Candidate, Tiles], workers: int
    ) -> dict[Candidate, float | Exception]:
        found = {one: self._speed(one) for one in runners}
        self.timed.append(tuple(map(str, found)))
        self.tiles |= {str(one): tiles[one].shape for one in found}
        return found

    def _speed(self, one: Candidate) -> float | Exception:
        model = self.models[one.engine]
        return model.speeds.get(one.precision, model.speed)


def install(monkeypatch: pytest.MonkeyPatch, **models: Model) -> Fleet:
    """Put a table of these engines, best first, in the place of the real one; nothing is really timed."""
    fleet = Fleet(models)
    monkeypatch.setattr(catalogue, "KINDS", fleet.kinds)
    monkeypatch.setattr(choose, "WORDS", tuple(models))
    monkeypatch.setattr(examination, "timed", fleet.time)
    return fleet


def shifted(logits: Tiles) -> Tiles:
    """Return logits that are wrong everywhere."""
    return logits + np.float32(3.0)


def dying(_: Tiles) -> Tiles:
    """Raise what a driver raises."""
    raise RuntimeError("CUDA error:\nout of memory")


def with_precisions(path: Path, networks: dict[str, bytes], output: Path, **tolerance: float) -> Package:
    """Write a copy of a package with more precisions, each with the certificate of fp32 and other bounds.

    Args:
        path: of a package.
        networks: precision -> ONNX file.
        output: where the copy goes.
        tolerance: fields of the certificate.
    """
    package = open_package(path)
    contract = package.contract
    certificate = replace(contract.precisions["fp32"].certificates[0], **tolerance)
    more = {name: Precision(f"{name}.onnx", (certificate,)) for name in networks}
    members = {name: package.read_member(name) for name in contract.members}
    members |= {f"{name}.onnx": network for name, network in networks.items()}
    return write_archive(output, replace(contract, precisions=contract.precisions | more), members)


def nothing_said(sentence: str) -> None:
    """Take a sentence where none is wanted."""
    raise AssertionError(sentence)
