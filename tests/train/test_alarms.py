"""The alarms of self-training ring where they should, and remember the last steps."""

import pytest
import torch

from dmn_train.alarms import Watch, bounded_alarm, confidence_alarm, foreground_alarm


@pytest.mark.parametrize(
    ("share", "said"), [(0.015, "little"), (0.017, None), (0.08, None), (0.39, None), (0.41, "much")]
)
def test_the_foreground_share_is_held_against_the_sources(share: float, said: str | None) -> None:
    sentence = foreground_alarm(share, 0.08)
    assert (sentence is None) == (said is None)
    if sentence is not None:
        assert f"hold {said} foreground" in sentence


def test_the_sentence_says_what_was_found_and_what_to_do() -> None:
    assert foreground_alarm(0.004, 0.08) == (
        "the pseudo-labels hold little foreground, 0.40% of the target's pixels and 0.05 times the source's "
        "8.00% (the alarm is at 0.2 times): unless the volumes differ so, self-training has collapsed, so "
        "compare the predictions with those of another method"
    )
    assert confidence_alarm(0.0021) == (
        "the teacher is sure of 0.21% of the target's pixels (the alarm is at 1%): begin from weights "
        "trained on the source (init.run), or use another method"
    )
    assert confidence_alarm(0.01) is None


def test_what_a_bound_leaves_out_is_held_against_the_sources() -> None:
    assert bounded_alarm(0.39, 0.08, 0.12) is None
    assert bounded_alarm(0.0, 0.08, 0.12) is None
    assert bounded_alarm(0.8, 0.08, 0.12) == (
        "the teacher finds much foreground, in 80.00% of the target's pixels and 10 times the source's 8.00% "
        "(the alarm is at 5 times), of which the bound of 12.00% leaves its labels the surest: unless the "
        "target holds so much, it takes other things for foreground, so compare the predictions with those "
        "of another method"
    )


def test_the_watch_holds_the_mean_and_then_forgets() -> None:
    watch = Watch()
    for share in (0.1, 0.2, 0.6):
        watch.note(torch.tensor(share), torch.tensor(1.0 - share))
    assert watch.means.of("foreground_share") == pytest.approx(0.3)
    assert watch.means.of("confident_share") == pytest.approx(0.7)
    assert watch.alarms(0.3) == ()
    for _ in range(1000):
        watch.note(torch.tensor(0.0), torch.tensor(0.0))
    little, unsure = watch.alarms(0.3)
    assert "little foreground" in little
    assert "sure of 0.00%" in unsure


def test_nothing_is_said_of_labels_that_there_were_not() -> None:
    """A network that waits for the whole run has made up none."""
    assert Watch().alarms(0.3) == ()


def test_a_step_counts_a_fiftieth_once_fifty_are_noted() -> None:
    watch = Watch()
    for _ in range(80):
        watch.note(torch.tensor(0.0), torch.tensor(1.0))
    watch.note(torch.tensor(1.0), torch.tensor(1.0))
    assert watch.means.of("foreground_share") == pytest.approx(0.02)
