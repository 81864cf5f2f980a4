"""Whether the machine had other work to do before the measurement began."""

import os
import sys


def load_average() -> float | None:
    """Return how many threads wanted to run, on average over the last minute; None if unknown (Windows)."""
    if sys.platform == "win32":
        return None
    else:  # noqa: RET505 (mypy knows platform branches by if and else alone)
        try:
            return os.getloadavg()[0]
        except OSError:  # the system does not tell
            return None


def busy_sentence(load: float | None, cores: int) -> str | None:
    """Return the warning for a machine whose load average is above its cores, None for any other."""
    if load is None or load <= cores:
        return None
    return (
        f"the machine is busy: a load average of {load:.1f} on {cores} cores before the measurement began; "
        "figures of a busy machine are not to be quoted"
    )
