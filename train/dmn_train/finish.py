"""The end of a run: the chosen weights, and everything that there is to say about them."""

from dataclasses import asdict, dataclass, replace

import torch
from safetensors.torch import save_file

from dmn_train.checkpoint import plain_weights
from dmn_train.domains import DomainNetwork
from dmn_train.files import file_sha256, write_whole
from dmn_train.folder import close_folder, library_versions
from dmn_train.foreground_bound import bounded_share
from dmn_train.given import Given
from dmn_train.hardware import device_name
from dmn_train.measure import measure, on_target
from dmn_train.run import FORMAT, FORMAT_VERSION, OVERLAYS, WEIGHTS
from dmn_train.select import Decision
from dmn_train.snapshots import prune, read_snapshot
from dmn_train.student.recalibrate import recalibrate
from dmn_train.threshold import bound_alarm, bounded_threshold
from dmn_train.validate import THRESHOLD, write_overlays


@dataclass(frozen=True)
class Outcome:
    """What a finished run tells.

    Attributes:
        steps: done; fewer than the recipe's where patience ended the run.
        loss: of the last step.
        iou: foreground IoU of the kept weights on held-out source data; None without such data.
        selected: step whose weights were kept.
        wall_s: seconds of work.
        leads: whether this process has the first of the devices, and thus wrote the folder.
        alarms: sentences of the method on what went wrong.
    """

    steps: int
    loss: float
    iou: float | None
    selected: int
    wall_s: float
    leads: bool
    alarms: tuple[str, ...] = ()


def finish(
    given: Given, network: DomainNetwork, outcome: Outcome, decision: Decision, resumed_at: int
) -> Outcome:
    """Write weights, overlays and run.json; return the outcome of the weights that were kept.

    Args:
        given: to the run.
        network: with the weights of the last step; left with those that are kept.
        outcome: of the last step.
        decision: what became of the snapshots.
        resumed_at: step at which this process began.
    """
    recipe, folder = given.recipe, given.folder
    chosen = outcome.selected != outcome.steps
    if chosen:
        network.load_state_dict(read_snapshot(folder, outcome.selected))
    if recalibrate(given, network) or chosen:
        again = measure(given.fabric, network, given.material, recipe, given.label_solidity)
        outcome = replace(outcome, iou=again.held_out_iou)
    write_whole(folder / WEIGHTS, lambda partial: save_file(plain_weights(network.network), partial))
    shown = given.material.held_out or given.material.train
    with given.fabric.autocast(), network.as_source() as as_source:
        write_overlays(
            folder / OVERLAYS, as_source, recipe.network.spec, shown, THRESHOLD, recipe.log.overlays
        )
    threshold, alarm = _threshold(given, network)
    if alarm is not None:
        outcome = replace(outcome, alarms=(*outcome.alarms, alarm))
    close_folder(folder, _facts(given, network, outcome, resumed_at) | {"threshold": threshold})
    # Not before: what is interrupted until here goes on from the last checkpoint and its snapshots.
    prune(folder, decision.remaining)
    return outcome


@torch.no_grad()
def _threshold(given: Given, network: DomainNetwork) -> tuple[float, str | None]:
    """Return the run's threshold, and a sentence where it does not keep the bound that is wanted."""
    most = bounded_share(given.recipe.select.most_foreground, given.material.domain.foreground_share)
    if most is None:
        return THRESHOLD, None
    network.eval()
    with given.fabric.autocast():
        probabilities = on_target(network, given.material, given.recipe)
    threshold = bounded_threshold(probabilities, most)
    return threshold, bound_alarm(probabilities, threshold, most)


def _facts(given: Given, network: DomainNetwork, outcome: Outcome, resumed_at: int) -> dict[str, object]:
    recipe, material, fabric = given.recipe, given.material, given.fabric
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "name": recipe.name,
        "method": recipe.method.name,
        "seed": recipe.loop.seed,
        "steps": outcome.steps,
        "selected_step": outcome.selected,
        "wall_s": round(outcome.wall_s, 1),
        "resumed_at": resumed_at,
        "held_out_iou": outcome.iou,
        "alarms": list(outcome.alarms),
        "network": asdict(recipe.network.spec),
        "parameters": sum(p.numel() for p in network.network.parameters()),
        "weights_sha256": file_sha256(given.folder / WEIGHTS),
        "voxel_nm": list(material.voxel_nm),
        "working_voxel_nm": recipe.working_voxel_nm,
        "normalisation": asdict(recipe.normalisation.rule),
        "domain": asdict(material.domain),
        "init": given.start.facts,
        "teacher": given.start.teacher.facts if given.start.teacher else None,
        "data": [asdict(origin) for origin in material.origins],
        "device": str(fabric.device),
        "device_name": device_name(fabric.device),
        "devices": fabric.world_size,
        "precision": fabric.strategy.precision.precision,
        "versions": library_versions(),
        "recipe": recipe.as_json(),
        "recipe_folder": str(given.placed.folder),
    }
