"""What an arm cost: the steps and hours of its runs and of all that they start and learn from."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dmn_train.networks.cost import multiply_adds_per_px
from dmn_train.networks.sizes import NetworkSpec, size_name
from dmn_train.run import RUN_JSON, load_run
from dmn_train.study.result import Result

Facts = dict[str, Any]
S_PER_H = 3600.0


@dataclass(frozen=True)
class Stage:
    """A run that had to be trained.

    Attributes:
        steps: of the optimiser.
        wall_s: seconds of its last stretch; 0 where the run is not here.
        all_known: the run is here, and was trained in one stretch.
        device: what it was trained on; "" where the run is not here.
    """

    steps: int
    wall_s: float
    all_known: bool
    device: str

    @property
    def is_here(self) -> bool:
        """Tell whether the run was found, and with it what it started from."""
        return self.device != ""


@dataclass(frozen=True)
class Budget:
    """The cost of an arm.

    Attributes:
        steps: of each stage in the order of training, as "2000 + 300"; of seeds that differ, "or" between.
        steps_known: every stage was found; else there may be more before the first.
        hours: of all stages, mean over seeds.
        hours_known: false where hours are a lower bound.
        devices: that stages were trained on, sorted.
        network: name of its size, and the slices that it reads where they are several.
        multiply_adds_per_px: of the network, for each pixel of its input.
        weights: how many the network has.
    """

    steps: str
    steps_known: bool
    hours: float
    hours_known: bool
    devices: tuple[str, ...]
    network: str
    multiply_adds_per_px: float
    weights: int


class Chains:
    """Finds what runs were made from: among a study's runs by their weights, else where the recipe says."""

    def __init__(self, results: Iterable[Result]) -> None:
        self._known: dict[str, Facts] = {result.facts["weights_sha256"]: result.facts for result in results}

    def budget(self, runs: list[Facts]) -> Budget:
        """Return the cost of an arm.

        Args:
            runs: run.json of at least one seed.

        Raises:
            RunError: a run that one of them starts from is damaged.
        """
        chains = [list(self.stages(facts).values()) for facts in runs]
        stages = [stage for chain in chains for stage in chain]
        spec = NetworkSpec(**runs[0]["network"])
        texts = [" + ".join(str(stage.steps) for stage in chain) for chain in chains]
        return Budget(
            steps=" or ".join(dict.fromkeys(texts)),
            steps_known=all(stage.is_here for stage in stages),
            hours=sum(stage.wall_s for stage in stages) / len(runs) / S_PER_H,
            hours_known=all(stage.all_known for stage in stages),
            devices=tuple(sorted({stage.device for stage in stages if stage.is_here})),
            network=_words(spec),
            multiply_adds_per_px=multiply_adds_per_px(spec),
            weights=runs[0]["parameters"],
        )

    def stages(self, facts: Facts) -> dict[str, Stage]:
        """Return a run and all that it was made from by sha256 of their weights, each once, first to last."""
        stages: dict[str, Stage] = {}
        for role in ("init", "teacher"):
            before = facts.get(role)  # runs that are older than students have no teacher
            if before is None:
                continue
            sha256 = before["weights_sha256"]
            found = self._known.get(sha256) or _beside(facts, role, sha256)
            stages |= self.stages(found) if found else {sha256: Stage(before["steps"], 0.0, False, "")}
        in_one = facts["resumed_at"] == 0
        own = Stage(facts["steps"], facts["wall_s"], in_one, facts["device_name"])
        return stages | {facts["weights_sha256"]: own}


def _words(spec: NetworkSpec) -> str:
    slices = f", {spec.in_channels} slices" if spec.context_slices else ""
    return f"{size_name(spec)}{slices}"


def _beside(facts: Facts, role: str, sha256: str) -> Facts | None:
    """Read the run that a recipe names; None where it is not here, or was trained anew since."""
    recipe = facts["recipe"]
    named = recipe["init"]["run"] if role == "init" else recipe["method"]["distil"]["teacher"]
    folder = Path(facts["recipe_folder"]) / named
    if not (folder / RUN_JSON).is_file():
        return None
    found = load_run(folder).facts
    return found if found["weights_sha256"] == sha256 else None
