import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmn_runtime import bootstrap
from dmn_runtime.bootstrap import interval


def mean(sums):
    return sums[:, 0] / sums[:, 1]


def units(values):
    return np.array([[value, 1.0] for value in values])


def test_equals_resampling_unit_by_unit():
    values = [0.0, 1.0, 2.0, 5.0, 9.0, 9.5]
    drawn = np.random.default_rng(7).choice(values, (20_000, len(values))).mean(axis=1)
    expected = np.percentile(drawn, [2.5, 97.5])
    assert interval(units(values), mean, 20_000, seed=0) == pytest.approx(expected, abs=0.15)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=20), st.integers(0, 9))
def test_lies_between_the_extremes(values, seed):
    low, high = interval(units(values), mean, 50, seed)
    assert min(values) - 1e-12 <= low <= high <= max(values) + 1e-12


def test_units_that_do_not_differ_have_no_width():
    assert interval(units([0.25] * 5), mean, 100, 0) == pytest.approx((0.25, 0.25))


def test_one_unit_or_no_resamples_give_no_interval():
    assert interval(units([0.5]), mean, 100, 0) is None
    assert interval(units([0.5, 0.6]), mean, 0, 0) is None


def test_the_batch_size_changes_nothing(monkeypatch):
    values = units([0.1, 0.4, 0.9])
    at_once = interval(values, mean, 100, 3)
    monkeypatch.setattr(bootstrap, "_DRAWS_AT_ONCE", 21)
    assert interval(values, mean, 100, 3) == at_once


def test_the_seed_decides():
    values = units([0.1, 0.4, 0.9])
    assert interval(values, mean, 100, 3) == interval(values, mean, 100, 3)
    assert interval(values, mean, 100, 3) != interval(values, mean, 100, 4)
