"""Training end to end: it learns, it can be stopped and killed, and the same seed gives the same bits."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import tifffile
import torch
from lightning_fabric import Fabric
from safetensors.torch import load_file

from dmn_runtime.errors import RecipeError, RunError
from dmn_train import finish, watch
from dmn_train.data import draw_batch
from dmn_train.domains import DomainNetwork
from dmn_train.loop import Progress, train
from dmn_train.material import load_material
from dmn_train.methods.base import Objective
from dmn_train.methods.table import make_method
from dmn_train.networks.unet import UNet
from dmn_train.recipe import PlacedRecipe
from dmn_train.run import load_run
from dmn_train.schedule import learning_rate
from dmn_train.sections import MethodName
from dmn_train.select import Measured
from dmn_train.snapshots import snapshot_steps

Placed = Callable[..., PlacedRecipe]
TARGET = ("data.target.image=target.tif", "data.target.voxel_nm=[5,5,5]")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "weights.safetensors")


def same(one: Path, two: Path) -> bool:
    a, b = weights(one), weights(two)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def curve(run: Path, name: str) -> list[tuple[int, float]]:
    rows = [line.split(",") for line in (run / "curves.csv").read_text().splitlines()[1:]]
    return [(int(step), float(value)) for step, key, value in rows if key == name]


def test_the_loss_falls_and_the_network_finds_the_discs(placed: Placed, tmp_path: Path) -> None:
    recipe = placed("loop.steps=60", "loop.validate_every=60", "augment.strength=0.2", "network.base=4")
    outcome = train(recipe, tmp_path / "run")
    losses = [value for _, value in curve(tmp_path / "run", "loss")]
    assert len(losses) == 60
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:10])
    assert outcome.iou is not None
    assert outcome.iou > 0.5
    assert curve(tmp_path / "run", "held_out_iou") == [(60, pytest.approx(outcome.iou, abs=1e-5))]


def test_the_same_seed_gives_the_same_bits_and_another_does_not(placed: Placed, tmp_path: Path) -> None:
    for name, seed in (("one", 0), ("two", 0), ("other", 1)):
        torch.manual_seed(1234)
        train(placed(f"loop.seed={seed}"), tmp_path / name)
    assert same(tmp_path / "one", tmp_path / "two")
    assert not same(tmp_path / "one", tmp_path / "other")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_resumes_to_the_same_bits(
    placed: Placed, tmp_path: Path, number: signal.Signals
) -> None:
    train(placed(), tmp_path / "whole")

    def stop(told: Progress) -> None:
        if told.done == 3:
            os.kill(os.getpid(), number)

    with pytest.raises(KeyboardInterrupt):
        train(placed(), tmp_path / "run", tell=stop)
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == [
        "checkpoint.safetensors",
        "curves.csv",
        "started.json",
    ]
    with pytest.raises(RunError, match="holds an unfinished run"):
        load_run(tmp_path / "run")
    steps = []
    train(placed(), tmp_path / "run", resume=True, tell=lambda told: steps.append(told.done))
    assert steps == [4, 5, 6]
    assert same(tmp_path / "whole", tmp_path / "run")
    assert (tmp_path / "whole" / "curves.csv").read_text() == (tmp_path / "run" / "curves.csv").read_text()
    assert json.loads((tmp_path / "run" / "run.json").read_text())["resumed_at"] == 3


def test_a_stop_in_the_last_step_finishes_the_run_and_is_passed_on(placed: Placed, tmp_path: Path) -> None:
    train(placed(), tmp_path / "whole")

    def stop(told: Progress) -> None:
        if told.done == told.steps:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(placed(), tmp_path / "run", tell=stop)
    assert load_run(tmp_path / "run").facts["steps"] == 6
    assert same(tmp_path / "whole", tmp_path / "run")
    with pytest.raises(RunError, match="holds a finished run: nothing to resume"):
        train(placed(), tmp_path / "run", resume=True)


@pytest.mark.parametrize("killed_at", [1, 5])
def test_a_killed_run_resumes_from_its_last_checkpoint(
    placed: Placed, tmp_path: Path, killed_at: int
) -> None:
    """What kill -9 leaves behind: an exception that nothing handles, between two checkpoints."""
    train(placed(), tmp_path / "whole")

    def die(told: Progress) -> None:
        if told.done == killed_at:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        train(placed(), tmp_path / "run", tell=die)
    train(placed(), tmp_path / "run", resume=True)
    assert same(tmp_path / "whole", tmp_path / "run")
    assert (tmp_path / "whole" / "curves.csv").read_text() == (tmp_path / "run" / "curves.csv").read_text()


def test_a_damaged_checkpoint_is_refused(placed: Placed, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="killed"):
        train(placed(), tmp_path / "run", tell=_die_at_five)
    path = tmp_path / "run" / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(RunError, match=r"checkpoint\.safetensors cannot be resumed from .*--overwrite"):
        train(placed(), tmp_path / "run", resume=True)


def test_the_averaged_weights_are_exported_and_0_turns_averaging_off(placed: Placed, tmp_path: Path) -> None:
    train(placed("loop.steps=3"), tmp_path / "averaged")
    train(placed("loop.steps=3", "optimiser.ema_decay=0.0"), tmp_path / "plain")
    averaged, plain = weights(tmp_path / "averaged"), weights(tmp_path / "plain")
    assert not torch.equal(averaged["head.weight"], plain["head.weight"])
    name = "down.0.1.running_mean"
    assert not torch.equal(averaged[name], plain[name])
    assert averaged["down.0.1.num_batches_tracked"].item() == 3


def test_bf16_and_context_slices_and_tensorboard_run(placed: Placed, tmp_path: Path) -> None:
    recipe = placed(
        "loop.steps=2", "loop.precision=bf16-mixed", "network.context_slices=1", "log.tensorboard=true"
    )
    train(recipe, tmp_path / "run")
    run = load_run(tmp_path / "run")
    assert run.facts["precision"] == "bf16-mixed"
    assert run.network()(torch.zeros(1, 3, 8, 8)).dtype == torch.float32
    assert len(list((tmp_path / "run" / "tensorboard").iterdir())) == 1


def _die_at_five(told: Progress) -> None:
    if told.done == 5:
        raise RuntimeError("killed")


@pytest.fixture
def target(folder: Path) -> None:
    tifffile.imwrite(folder / "target.tif", 255 - tifffile.imread(folder / "image.tif") // 2)


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("method", ["mmd", "dann", "ynet", "isc", "mean_teacher", "dismemnet"])
def test_a_killed_adaptation_resumes_with_all_that_its_method_has_learned(
    placed: Placed, tmp_path: Path, method: str
) -> None:
    bounded = method in ("mean_teacher", "dismemnet")
    ceiling = (f"method.{method}.labels.most_foreground=0.05",) if bounded else ()
    recipe = placed(*TARGET, f"method.name={method}", "loop.crop_px=16", *ceiling)
    train(recipe, tmp_path / "whole")
    with pytest.raises(RuntimeError, match="killed"):
        train(recipe, tmp_path / "run", tell=_die_at_five)
    held = load_file(tmp_path / "run" / "checkpoint.safetensors")
    for place in ("objective.network.", "average."):
        ours, theirs = (
            held[f"{place}{name}.running_mean"] for name in ("network.down.0.1", "source_statistics.0")
        )
        assert not torch.equal(ours, theirs)
    assert any(name.startswith("objective.method.") for name in held) == (method != "mmd")
    assert ("objective.method.ceiling.histogram" in held) == bounded
    train(recipe, tmp_path / "run", resume=True)
    assert same(tmp_path / "whole", tmp_path / "run")
    assert (tmp_path / "whole" / "curves.csv").read_text() == (tmp_path / "run" / "curves.csv").read_text()


@pytest.mark.usefixtures("target")
def test_no_method_leaves_a_trace_in_the_weights(placed: Placed, tmp_path: Path) -> None:
    shapes, facts = {}, {}
    for method in get_args(MethodName):
        keys = (*TARGET, f"method.name={method}", "loop.steps=1", "loop.crop_px=16")
        teacher = ("method.distil.teacher=source_only",) if method == "distil" else ()
        train(placed(*keys, *teacher), tmp_path / method)
        shapes[method] = {name: tensor.shape for name, tensor in weights(tmp_path / method).items()}
        run = load_run(tmp_path / method)
        assert run.method == method
        facts[method] = run.facts["parameters"]
        assert run.network()(torch.zeros(1, 1, 16, 16)).shape == (1, 1, 16, 16)
    assert all(shapes[method] == shapes["source_only"] for method in shapes)
    assert len(set(facts.values())) == 1


SCRIPT = {
    "held_out": [0.3, 0.8, 0.5, 0.6, 0.7, 0.4],
    "entropy": [0.9, 0.5, 0.2, 0.4, 0.3, 0.6],
    "solidity": [0.5, 0.99, 0.7, 0.92, 0.8, 0.6],
}


def scripted(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make validations measure what SCRIPT says, by the steps that the network has seen."""

    def measure(_: object, network: DomainNetwork, *__: Any) -> Measured:
        value = SCRIPT[rule][int(network.network.down[0][1].num_batches_tracked) - 1]
        match rule:
            case "held_out":
                return Measured(held_out_iou=value)
            case "entropy":
                return Measured(entropy=value)
            case _:
                return Measured(solidity=value, source_solidity=0.9)

    for module in (watch, finish):
        monkeypatch.setattr(module, "measure", measure)


SELECTS = (*TARGET, "method.name=adabn", "loop.crop_px=16", "loop.validate_every=1")


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize(("rule", "best"), [("held_out", 2), ("entropy", 3), ("solidity", 4)])
def test_a_rule_keeps_the_weights_of_its_best_step(
    placed: Placed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rule: str, best: int
) -> None:
    scripted(rule, monkeypatch)
    outcome = train(placed(*SELECTS, f"select.rule={rule}", "select.keep=6"), tmp_path / "run")
    assert (outcome.steps, outcome.selected) == (6, best)
    facts = load_run(tmp_path / "run").facts
    assert (facts["steps"], facts["selected_step"]) == (6, best)
    counter = "down.0.1.num_batches_tracked"
    assert weights(tmp_path / "run")[counter].item() == best
    snapshot = load_file(tmp_path / "run" / "snapshots" / f"step{best:06d}.safetensors")
    kept = weights(tmp_path / "run")
    assert all(torch.equal(kept[name], snapshot[f"network.{name}"]) for name in kept)


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize(
    ("rule", "keep", "left"),
    [("entropy", 0, ()), ("entropy", 2, (3, 5)), ("held_out", 3, (2, 4, 5)), ("last", 2, (5, 6))],
)
def test_as_many_snapshots_stay_as_are_to_be_kept(
    placed: Placed,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rule: str,
    keep: int,
    left: tuple[int, ...],
) -> None:
    scripted("held_out" if rule == "last" else rule, monkeypatch)
    train(placed(*SELECTS, f"select.rule={rule}", f"select.keep={keep}"), tmp_path / "run")
    assert snapshot_steps(tmp_path / "run") == left
    assert (tmp_path / "run" / "snapshots").is_dir() == bool(left)


@pytest.mark.usefixtures("target")
def test_patience_ends_a_run_early_and_a_resumed_one_alike(
    placed: Placed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted("held_out", monkeypatch)
    patient = (*SELECTS, "select.rule=held_out", "select.patience=3")
    outcome = train(placed(*patient), tmp_path / "whole")
    assert (outcome.steps, outcome.selected) == (5, 2)

    def die(told: Progress) -> None:
        if told.done == 4:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        train(placed(*patient), tmp_path / "run", tell=die)
    steps = []
    outcome = train(
        placed(*patient), tmp_path / "run", resume=True, tell=lambda told: steps.append(told.done)
    )
    assert steps == [4, 5]
    assert (outcome.steps, outcome.selected) == (5, 2)
    assert same(tmp_path / "whole", tmp_path / "run")
    for name in ("whole", "run"):
        facts = load_run(tmp_path / name).facts
        assert (facts["steps"], facts["selected_step"]) == (5, 2)
        assert not (tmp_path / name / "checkpoint.safetensors").exists()
        assert snapshot_steps(tmp_path / name) == ()


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("method", ["mmd", "coral", "dann", "ynet", "mean_teacher", "dismemnet"])
def test_shared_statistics_train_and_differ_from_own(placed: Placed, tmp_path: Path, method: str) -> None:
    for statistics in ("own", "shared"):
        keys = (*SELECTS, "loop.steps=2", f"method.name={method}", f"method.statistics={statistics}")
        train(placed(*keys), tmp_path / statistics)
    assert not same(tmp_path / "own", tmp_path / "shared")
    assert weights(tmp_path / "own").keys() == weights(tmp_path / "shared").keys()


@pytest.mark.usefixtures("target")
def test_a_run_that_is_killed_while_it_is_closed_can_be_resumed(
    placed: Placed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The chosen snapshot is still there, although nothing is to stay once the run is finished."""
    scripted("held_out", monkeypatch)
    recipe = placed(*SELECTS, "select.rule=held_out", "select.keep=0")

    def die(*_: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as full:
        full.setattr(finish, "write_overlays", die)
        with pytest.raises(RuntimeError, match="killed"):
            train(recipe, tmp_path / "run")
    outcome = train(recipe, tmp_path / "run", resume=True)
    assert (outcome.steps, outcome.selected) == (6, 2)
    assert snapshot_steps(tmp_path / "run") == ()


@pytest.mark.usefixtures("target")
def test_what_the_first_device_measured_decides(
    placed: Placed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Statistics differ between devices; if each decided alone, one would wait for ever."""
    of_the_first = iter([0.9, 0.2, 0.5, 0.4, 0.6, 0.7])
    monkeypatch.setattr(Fabric, "broadcast", lambda *_: Measured(entropy=next(of_the_first)))
    outcome = train(placed(*SELECTS, "select.rule=entropy", "select.patience=2"), tmp_path / "run")
    assert (outcome.steps, outcome.selected) == (4, 2)


def test_the_iou_that_is_told_is_that_of_the_weights_that_are_kept(placed: Placed, tmp_path: Path) -> None:
    recipe = placed("select.rule=held_out", "loop.validate_every=1", "select.keep=6", "loop.steps=12")
    outcome = train(recipe, tmp_path / "run")
    ious = dict(curve(tmp_path / "run", "held_out_iou"))
    assert max(ious.values()) == pytest.approx(ious[outcome.selected])
    assert outcome.iou == pytest.approx(ious[outcome.selected], abs=1e-5)
    assert load_run(tmp_path / "run").facts["held_out_iou"] == outcome.iou


TWO_DEVICES = (
    *TARGET,
    "method.name=dann",
    "method.dann.ramp=false",
    "loop.devices=2",
    "loop.crop_px=16",
    "loop.batch=2",
    "loop.validate_every=1",
    "optimiser.ema_decay=0.0",
    "select.rule=entropy",
    "select.patience=1",
)
KILLED = """
import os, signal, sys
from pathlib import Path
from dmn_train.loop import train
from dmn_train.recipe import load_recipe

def die(told):
    if told.done == 2:
        os.killpg(0, signal.SIGKILL)

train(load_recipe(Path("recipe.toml"), tuple(sys.argv[1:])), Path("killed"), tell=die)
"""


def in_processes(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a process group of its own, with one thread a process."""
    return subprocess.run(
        (sys.executable, *command),
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
        capture_output=True,
        text=True,
        timeout=300,
    )


def on_two_devices(folder: Path, run: str, *words: str) -> str:
    """Return what `dmn train` prints on two devices."""
    sets = [word for setting in TWO_DEVICES for word in ("--set", setting)]
    done = in_processes(folder, "-m", "dmn_runtime", "train", "recipe.toml", "-o", run, *sets, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def trained_by_hand(placed: PlacedRecipe, steps: int, ranks: tuple[int, ...]) -> dict[str, torch.Tensor]:
    """Return the weights after `steps` steps along the mean gradient of the batches of `ranks`."""
    recipe, material = placed.recipe, load_material(placed)
    section = recipe.optimiser
    torch.manual_seed(recipe.loop.seed)
    network = DomainNetwork(UNet(recipe.network.spec), two_domains=True)
    objective = Objective(network, make_method(recipe, 0.1)).train()
    adam = torch.optim.AdamW(objective.parameters(), weight_decay=section.weight_decay)
    for step in range(steps):
        batches = [draw_batch(material, recipe, step, rank) for rank in ranks]
        losses = [objective(batch, step / recipe.loop.steps)["loss"] for batch in batches]
        adam.zero_grad()
        torch.stack(losses).mean().backward()
        torch.nn.utils.clip_grad_norm_(objective.parameters(), section.clip_norm)
        adam.param_groups[0]["lr"] = learning_rate(
            step,
            peak=section.lr,
            steps=recipe.loop.steps,
            warmup_steps=section.warmup_steps,
            schedule=section.schedule,
        )
        adam.step()
    return {name: weight.detach() for name, weight in network.network.named_parameters()}


def farthest(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> float:
    """Return the largest difference of two networks in a weight; `two` may hold statistics beside them."""
    return max(float((weight - two[name]).abs().max()) for name, weight in one.items())


@pytest.mark.usefixtures("target")
def test_two_devices_train_one_run(folder: Path, placed: Placed) -> None:
    """Two processes on the CPU: one folder, one summary, and every step along the mean of both gradients."""
    assert len(on_two_devices(folder, "run").splitlines()) == 2
    run = load_run(folder / "run")
    assert run.facts["devices"] == 2
    assert run.network()(torch.zeros(1, 1, 16, 16)).isfinite().all()
    steps = [step for step, _ in curve(folder / "run", "loss")]
    assert steps == list(range(1, run.facts["steps"] + 1))

    recipe, selected = placed(*TWO_DEVICES), run.facts["selected_step"]
    assert selected > 1
    both, alone = (trained_by_hand(recipe, selected, ranks) for ranks in ((0, 1), (0,)))
    assert farthest(both, weights(folder / "run")) < 1e-4 < 1e-2 < farthest(both, alone)

    (folder / "killed.py").write_text(KILLED)
    assert in_processes(folder, "killed.py", *TWO_DEVICES).returncode == -signal.SIGKILL
    on_two_devices(folder, "killed", "--resume")
    resumed = load_run(folder / "killed").facts
    assert (resumed["resumed_at"], resumed["selected_step"]) == (1, selected)
    assert same(folder / "run", folder / "killed")
    assert (folder / "run" / "curves.csv").read_text() == (folder / "killed" / "curves.csv").read_text()


@pytest.mark.usefixtures("target")
def test_the_threshold_of_a_run_keeps_the_foreground_within_its_bound(
    placed: Placed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = (*TARGET, "method.name=adabn", "loop.crop_px=16", "loop.steps=2")
    seen = [np.array([[0.9, 0.8, 0.7, 0.1]], np.float32)]
    monkeypatch.setattr(finish, "on_target", lambda *_: seen)
    train(placed(*keys), tmp_path / "free")
    train(placed(*keys, "select.most_foreground=0.5"), tmp_path / "bounded")
    free, bounded = (load_run(tmp_path / name) for name in ("free", "bounded"))
    assert (free.threshold, bounded.threshold) == (0.5, pytest.approx(0.7, abs=1e-6))
    times = 0.5 / free.domain.foreground_share
    train(placed(*keys, f"select.most_foreground={times:.4f}x"), tmp_path / "times")
    assert load_run(tmp_path / "times").threshold == bounded.threshold
    assert free.facts["weights_sha256"] == bounded.facts["weights_sha256"]
    seen[0][:] = 1.0
    told = train(placed(*keys, "select.most_foreground=0.5"), tmp_path / "full").alarms
    assert "select.most_foreground allows 50.0%" in told[-1]
    assert load_run(tmp_path / "full").facts["alarms"] == list(told)
    with pytest.raises(RecipeError, match=r"select\.most_foreground needs data\.target"):
        placed("select.most_foreground=0.02")
