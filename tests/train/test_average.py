"""The average of weights holds BatchNorm's statistics too."""

import copy

import torch
from torch import nn

from dmn_train.average import update_average


def test_weights_and_running_statistics_are_averaged_and_counters_copied() -> None:
    network = nn.BatchNorm2d(1)
    average = copy.deepcopy(network)
    with torch.no_grad():
        network.weight.fill_(3.0)
        network.running_mean.fill_(10.0)  # type: ignore[union-attr]
        network.running_var.fill_(5.0)  # type: ignore[union-attr]
        network.num_batches_tracked.fill_(7)  # type: ignore[union-attr]
    update_average(average, network, decay=0.75, step=1000)
    assert average.weight.item() == 1.0 * 0.75 + 3.0 * 0.25
    assert average.running_mean.item() == 2.5  # type: ignore[union-attr]
    assert average.running_var.item() == 1.0 * 0.75 + 5.0 * 0.25  # type: ignore[union-attr]
    assert average.num_batches_tracked.item() == 7  # type: ignore[union-attr]


def test_early_steps_forget_the_start_faster() -> None:
    network = nn.Linear(1, 1, bias=False)
    average = copy.deepcopy(network)
    with torch.no_grad():
        average.weight.fill_(0.0)
        network.weight.fill_(1.0)
    update_average(average, network, decay=0.999, step=0)
    assert abs(average.weight.item() - 0.9) < 1e-6


def test_without_buffers_statistics_and_counters_stay_those_of_the_start() -> None:
    network = nn.BatchNorm2d(1)
    average = copy.deepcopy(network)
    with torch.no_grad():
        network.weight.fill_(3.0)
        network.running_mean.fill_(10.0)  # type: ignore[union-attr]
        network.num_batches_tracked.fill_(7)  # type: ignore[union-attr]
    update_average(average, network, decay=0.75, step=1000, buffers=False)
    assert average.weight.item() == 1.5
    assert average.running_mean.item() == 0.0  # type: ignore[union-attr]
    assert average.num_batches_tracked.item() == 0  # type: ignore[union-attr]
