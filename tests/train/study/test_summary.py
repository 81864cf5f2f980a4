"""Numbers over seeds against hand values."""

import numpy as np
import pytest

from dmn_train.study.score import Oracle, Score
from dmn_train.study.summary import summarise


def score(*slices: tuple[int, int, int, int], oracle: float | None = None) -> Score:
    return Score(np.array(slices, np.int64), 0.5, None if oracle is None else Oracle(4, oracle))


def test_an_arm_is_summarised_over_seeds_and_paired_with_another() -> None:
    arm = {0: score((6, 2, 2, 0), (6, 2, 2, 0)), 1: score((8, 1, 1, 0), (8, 1, 1, 0)), 5: score((1, 1, 0, 0))}
    base = {0: score((4, 4, 2, 0), (5, 3, 2, 0)), 1: score((5, 5, 0, 0), (5, 5, 0, 0))}
    del arm[5]
    found = summarise(arm, {"base": base, "nowhere": {}})
    assert found.volume.by_seed == {0: pytest.approx(0.6), 1: pytest.approx(0.8)}
    assert found.volume.mean == pytest.approx(0.7)
    assert found.volume.sd == pytest.approx(0.2 / 2**0.5)
    assert found.slices.mean == pytest.approx(0.7)
    assert found.low_high == pytest.approx((0.7, 0.7))  # both slices of a run are alike
    assert list(found.minus) == ["base"]
    assert found.minus["base"].volume.by_seed == {0: pytest.approx(0.6 - 9 / 20), 1: pytest.approx(0.3)}
    # Slices twice the first: 0.6 - 0.4; twice the second: 0.6 - 0.5; the other seed adds 0.3.
    assert found.minus["base"].low_high == pytest.approx((0.2, 0.25))
    assert found.oracle is None


def test_only_seeds_of_both_arms_are_paired_and_each_arm_with_several() -> None:
    arm = {0: score((6, 2, 2, 0)), 1: score((8, 1, 1, 0))}
    others = {"base": {1: score((5, 5, 0, 0))}, "beside": {0: score((2, 4, 4, 0)), 1: score((3, 7, 0, 0))}}
    minus = summarise(arm, others).minus
    assert (minus["base"].volume.n, minus["base"].volume.sd) == (1, None)
    assert minus["beside"].volume.by_seed == {0: pytest.approx(0.4), 1: pytest.approx(0.5)}
    assert summarise(arm, {}).minus == {}
    assert summarise(arm, {"base": {7: score((5, 5, 0, 0))}}).minus == {}


def test_an_oracle_wants_snapshots_of_every_run() -> None:
    with_snapshots = {0: score((6, 2, 2, 0), oracle=0.7), 1: score((8, 1, 1, 0), oracle=0.9)}
    found = summarise(with_snapshots, {}).oracle
    assert found is not None
    assert found.mean == pytest.approx(0.8)
    assert summarise({**with_snapshots, 2: score((8, 1, 1, 0))}, {}).oracle is None
