"""What must be there before the first training: volumes that recipes name, runs taken as they are."""

import os
from pathlib import Path

from dmn_runtime.errors import RunError, VolumeError
from dmn_train.study.job import Job
from dmn_train.study.plan import VOLUME_KEYS
from dmn_train.study.state import State


def check_present(jobs: tuple[Job, ...], states: dict[str, State]) -> None:
    """Refuse a plan some of whose runs could only fail, after others have taken their time.

    Raises:
        VolumeError: a file that a run still to be trained reads is not there.
        RunError: a run that is taken as it is, is not there.
    """
    for job in jobs:
        if states[job.id] is State.FINISHED:
            continue
        if job.recipe is None:
            raise RunError(
                f"{job.folder}, taken as it is for {job.id}, holds no finished run: check the path"
            )
        data = job.recipe["data"]
        for section in (data["source"], *data.get("target", [])):
            for key in VOLUME_KEYS:
                named = section.get(key)
                if named is not None and not _there(job, named):
                    raise VolumeError(f"{named}, which {job.id} reads, does not exist: check the path")


def _there(job: Job, named: str) -> bool:
    """Tell whether a recipe's path leads somewhere; the folder that it starts from may not be there yet."""
    return Path(os.path.normpath(job.folder.parent / named.partition("::")[0])).exists()
