"""Means of the last notes, by hand."""

import torch

from dmn_train.means import Means


def test_a_plain_mean_then_a_moving_one() -> None:
    means, found = Means(("gate", "other"), memory=2), []
    assert means.of("gate") is None
    for value in (1.0, 3.0, 5.0, 9.0):
        means.note("gate", torch.tensor(value))
        found.append(means.of("gate"))
    assert found == [1.0, 2.0, 3.5, 6.25]
    assert means.of("other") is None


def test_a_resumed_run_goes_on_with_them() -> None:
    one, two = Means(("a",), memory=4), Means(("a",), memory=4)
    one.note("a", torch.tensor(2.0))
    two.load_state_dict(one.state_dict())
    two.note("a", torch.tensor(4.0))
    assert two.of("a") == 3.0
