"""The contest's JSON: written whole after every measurement, so that an interrupted contest goes on.

config        what was asked, without folders: volumes, students, device, cores, contestants
machine       processor, system, DMN's version, what runs the peers
trials        what the choices of a contestant took on a few slices, and which was taken
accuracy      IoU and difference from the untiled result, once a volume, student and contestant
equality      ONNX against PyTorch, once a volume and student
measurements  one for each round, volume, student and contestant
left_out      what could not be measured, and why
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dmn_runtime.errors import UsageError
from dmn_runtime.whole_file import whole_file

FORMAT = "dmn-peers"
FORMAT_VERSION = 1
LISTS = ("trials", "accuracy", "equality", "measurements", "left_out")
Record = dict[str, Any]


@dataclass
class Store:
    """The records of a contest; `path` holds them."""

    path: Path
    config: Record
    machine: Record
    trials: list[Record] = field(default_factory=list)
    accuracy: list[Record] = field(default_factory=list)
    equality: list[Record] = field(default_factory=list)
    measurements: list[Record] = field(default_factory=list)
    left_out: list[Record] = field(default_factory=list)

    def add(self, kind: str, record: Record) -> None:
        """Append a record and save everything."""
        getattr(self, kind).append(record)
        self.save()

    def find(self, kind: str, **wanted: Any) -> Record | None:
        """Return the first record that has all of `wanted`."""
        return next((one for one in self.of(kind, **wanted)), None)

    def of(self, kind: str, **wanted: Any) -> list[Record]:
        """Return the records that have all of `wanted`."""
        records: list[Record] = getattr(self, kind)
        return [one for one in records if all(one.get(key) == value for key, value in wanted.items())]

    def save(self) -> None:
        """Write the file, whole or not at all."""
        content = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "config": self.config,
            "machine": self.machine,
            **{kind: getattr(self, kind) for kind in LISTS},
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(self.path, "contest's JSON") as partial:
            partial.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def load(path: Path) -> Store:
    """Read a contest.

    Raises:
        UsageError: there is none, or it is damaged or of another version.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        kind, version = content["format"], content["format_version"]
        records = {name: list(content[name]) for name in LISTS}
        store = Store(path, dict(content["config"]), dict(content["machine"]), **records)
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist, so there is nothing to report: measure first") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} is damaged ({type(error).__name__}: {error}): measure again with --fresh"
        ) from error
    if (kind, version) != (FORMAT, FORMAT_VERSION):
        raise UsageError(f"{path} is {kind} version {version}, wanted {FORMAT} version {FORMAT_VERSION}")
    return store


def begin(path: Path, config: Record, machine: Record, *, fresh: bool) -> Store:
    """Return the contest to go on with, or a new one.

    Raises:
        UsageError: what is there was asked otherwise, or measured on another machine or with other versions.
    """
    if fresh or not path.exists():
        return Store(path, config, machine)
    store = load(path)
    for name, before, now in (("config", store.config, config), ("machine", store.machine, machine)):
        different = sorted(key for key in {*before, *now} if before.get(key) != now.get(key))
        if different:
            raise UsageError(
                f"{path} was measured with another {' and another '.join(different)} ({name}): measure anew "
                "with --fresh, or name another --out"
            )
    return store
