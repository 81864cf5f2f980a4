"""Stop signals are noted, not obeyed at once."""

import os
import signal

import pytest

from dmn_train.interrupt import deferred_interrupts


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_a_flag_and_the_second_stops(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with deferred_interrupts() as interrupt:
        assert not interrupt.wanted
        os.kill(os.getpid(), number)
        assert interrupt.wanted
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before
