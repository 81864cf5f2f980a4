"""Where things lie in the engine cache, and what may be called ours there."""

import re
import secrets
from dataclasses import dataclass
from pathlib import Path

PLAN = "engine.plan"
RECORD = "record.json"

_ENTRY = re.compile(r"[0-9a-f]{64}")
_PARTIAL = re.compile(r"\.building-([0-9a-f]{64})-[0-9a-f]{8}")


@dataclass(frozen=True)
class Layout:
    """The places below one cache folder."""

    cache: Path

    @property
    def engines(self) -> Path:
        """The folder of all entries."""
        return self.cache / "engines"

    def entry(self, digest: str) -> Path:
        """Return the folder of one engine, named by its key's digest."""
        return self.engines / digest

    def new_partial(self, digest: str) -> Path:
        """Return a new name, beside the entry, for a build that is not finished.

        Each build has a name of its own: a child that outlives its killed parent must not write into the
        folder of the next build.
        """
        return self.engines / f".building-{digest}-{secrets.token_hex(4)}"

    def partials(self) -> tuple[tuple[Path, str], ...]:
        """Return (folder, digest) of every unfinished build, alive or dead."""
        found = ((path, _PARTIAL.fullmatch(path.name)) for path in self._listed())
        return tuple((path, match[1]) for path, match in found if match is not None)

    def entries(self) -> tuple[Path, ...]:
        """Return everything that is named like an entry; nothing else in the folder is ours to touch."""
        return tuple(path for path in self._listed() if _ENTRY.fullmatch(path.name))

    def lock(self, digest: str) -> Path:
        """Return the file whose lock is held by whoever builds or removes the entry."""
        return self.cache / "locks" / f"{digest}.lock"

    def _listed(self) -> list[Path]:
        try:
            return sorted(self.engines.iterdir())
        except OSError:  # no cache yet, or one that cannot be read: nothing to list
            return []
