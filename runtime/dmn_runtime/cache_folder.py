"""Where DMN keeps on this machine what it can make again at any time."""

import os
from pathlib import Path

from platformdirs import user_cache_path

VARIABLE = "DMN_CACHE_DIR"


def cache_folder() -> Path:
    """Return the cache folder of this user, which need not exist; `DMN_CACHE_DIR` overrides it.

    An empty variable counts as none. The path is absolute, so that a change of the working folder of this
    process or of its children does not move the cache.
    """
    named = os.environ.get(VARIABLE)
    folder = Path(named).expanduser() if named else user_cache_path("dmn", appauthor=False)
    return folder.absolute()
