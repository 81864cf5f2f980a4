"""Whether other programs keep this machine busy, which several threads of one program bear badly."""

import os

import torch

BUSY_SHARE = 0.5


def busy_words(load: float, cores: int, threads: int) -> str | None:
    """Return a sentence where a training of several threads will wait for cores that others use; else None.

    Args:
        load: processes that want to run, mean of the last minute.
        cores: of this machine.
        threads: that a training uses.
    """
    if threads == 1 or load <= BUSY_SHARE * cores:
        return None
    return (
        f"this machine is busy: {load:.1f} processes want to run on {cores} cores, and {threads} threads of "
        "a training then wait for one another; with OMP_NUM_THREADS=1 in the environment it may be several "
        "times as fast"
    )


def busy_now() -> str | None:
    """Return that sentence of this machine as it is now; None too where the system tells no load."""
    try:
        load = os.getloadavg()[0]
    except (AttributeError, OSError):  # Windows has no such call
        return None
    return busy_words(load, os.cpu_count() or 1, torch.get_num_threads())
