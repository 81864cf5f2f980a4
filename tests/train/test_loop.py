"""Training end to end: it learns, it can be stopped and killed, and the same seed gives the same bits."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from dmn_runtime.errors import RunError
from dmn_train.loop import Progress, train
from dmn_train.recipe import PlacedRecipe
from dmn_train.run import load_run

Placed = Callable[..., PlacedRecipe]


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
