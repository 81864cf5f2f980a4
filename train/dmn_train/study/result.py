"""A scored run: what tables are made of."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dmn_train.select import Rule
from dmn_train.study.score import Score
from dmn_train.study.structure import Structure


@dataclass(frozen=True)
class Result:
    """A scored run.

    Attributes:
        protocol: name.
        arm: name.
        fraction: share of the target's labels; None without fine-tuning.
        seed: of the run.
        score: of the run in the protocol.
        by_rule: foreground IoU of what each rule of selection would have kept; empty without snapshots.
        facts: the run's run.json.
        run: id of its job.
        folder: of the run.
        command: the words that trained it; empty for a run taken as it is.
        structure: objects and boundaries; None where the study does not ask for them.
    """

    protocol: str
    arm: str
    fraction: float | None
    seed: int
    score: Score
    by_rule: Mapping[Rule, float]
    facts: dict[str, Any]
    run: str
    folder: Path
    command: str
    structure: Structure | None = None
