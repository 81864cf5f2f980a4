"""Where DMN keeps on this machine what it can make again at any time."""

import os
from pathlib import Path

from platformdirs import user_cache_path

from dmn_runtime.errors import UsageError

VARIABLE = "DMN_CACHE_DIR"


def cache_folder() -> Path:
    """Return the cache folder of this user, which need not exist; `DMN_CACHE_DIR` overrides it.

    An empty variable counts as none. The path is absolute, so that a change of the working folder of this
    process or of its children does not move the cache.

    Raises:
        UsageError: the variable names what is no folder and cannot become one. The user's own folder is not
            checked: nobody asked for it, and every command can go on without a cache.
    """
    named = os.environ.get(VARIABLE)
    if not named:
        return user_cache_path("dmn", appauthor=False).absolute()
    folder = Path(named).expanduser().absolute()
    _check_named(folder)
    return folder


def _check_named(folder: Path) -> None:
    # os.path, unlike Path, is false where the system refuses to look.
    standing = next((place for place in (folder, *folder.parents) if os.path.lexists(place)), None)
    if standing is not None and not os.path.isdir(standing):  # noqa: PTH112
        raise UsageError(
            f"{VARIABLE} names {folder}, but {standing} is a file, wanted a folder: name a folder, or leave "
            "the variable out"
        )
