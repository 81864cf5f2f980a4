import pytest

from dmn_runtime.contract import Domain
from dmn_runtime.drift import intensity_drift, share_drift

EPFL = (-1.0, -0.8, -0.43, 0.0, 0.43, 0.82, 1.0)
VNC = (-1.0, -0.81, -0.28, 0.2, 0.57, 0.85, 1.0)
DOMAIN = Domain(EPFL, 0.07)


def test_the_training_domain_and_another_laboratory_raise_no_alarm():
    assert intensity_drift(DOMAIN, EPFL) == []
    assert intensity_drift(DOMAIN, VNC) == []


def test_the_farthest_middle_quantile_is_named():
    [sentence] = intensity_drift(DOMAIN, (-1.0, -0.9, -0.7, -0.5, -0.1, 0.6, 1.0))
    assert "the 75th percentile is -0.10 here and +0.43 in training" in sentence
    assert "check contrast" in sentence


def test_the_outermost_quantiles_are_not_compared():
    assert intensity_drift(DOMAIN, (-3.0, *EPFL[1:6], 3.0)) == []


@pytest.mark.parametrize(("shift", "alarms"), [(0.35, 0), (0.36, 1)])
def test_the_tolerance(shift, alarms):
    zeros = Domain((0.0,) * 7, 0.07)
    assert len(intensity_drift(zeros, (0.0, 0.0, 0.0, shift, shift, shift, 1.0))) == alarms


def test_padding_is_recognised():
    [black] = intensity_drift(DOMAIN, (-1.0, -1.0, -1.0, -0.2, 0.3, 0.8, 1.0))
    assert "a quarter of the volume is plain black" in black
    [white] = intensity_drift(DOMAIN, (-1.0, -0.8, -0.3, 0.2, 1.0, 1.0, 1.0))
    assert "a quarter of the volume is plain white" in white


@pytest.mark.parametrize(("share", "word"), [(0.0139, "little"), (0.0, "little"), (0.281, "much")])
def test_a_foreign_share_of_foreground_raises_the_alarm(share, word):
    [sentence] = share_drift(DOMAIN, share)
    assert sentence.startswith(f"the result holds {word} foreground")


@pytest.mark.parametrize("share", [0.0141, 0.07, 0.279])
def test_a_usual_share_of_foreground_raises_none(share):
    assert share_drift(DOMAIN, share) == []


def test_a_training_without_foreground_has_no_share_to_compare():
    assert share_drift(Domain(EPFL, 0.0), 0.5) == []
