"""A process of its own that obtains an engine: `python child.py FOLDER KEY_JSON HOW`.

The build writes half its plan, then a line to FOLDER/builds, then waits for FOLDER/go. What is said while it
waits for another process goes to FOLDER/said. HOW "rename" and "fsync" end the process at once, as a kill
would, when the finished build is about to be put in its place.
"""

import json
import os
import sys
import time
from pathlib import Path

from dmn_runtime.engine_cache import keeping
from dmn_runtime.engine_cache.key import EngineKey
from dmn_runtime.engine_cache.record import Label
from dmn_runtime.engine_cache.store import obtain

PLAN = b"plan of a child" * 100
PATIENCE_S = 60


def main(folder: Path, key: EngineKey, how: str) -> None:
    def build(path: Path) -> None:
        path.write_bytes(PLAN[:100])
        with (folder / "builds").open("a") as file:
            file.write(f"{os.getpid()}\n")
        end = time.monotonic() + PATIENCE_S
        while not (folder / "go").exists():
            assert time.monotonic() < end, "nobody says go"  # no child outlives a killed test run for long
            time.sleep(0.01)
        path.write_bytes(PLAN)

    if how == "rename":
        keeping._rename = lambda *_: os._exit(9)
    if how == "fsync":
        keeping.os.fsync = lambda file: os._exit(9) if (folder / "builds").exists() else None
    obtained = obtain(
        key,
        Label("mito-s16", "b" * 64),
        build,
        lambda plan: None,
        say=(folder / "said").write_text,
        folder=folder / "cache",
    )
    assert obtained.plan == PLAN
    sys.stdout.write(f"{obtained.how}: {obtained.why}\n")


if __name__ == "__main__":
    document = json.loads(sys.argv[2])
    main(Path(sys.argv[1]), EngineKey(**document), sys.argv[3])
