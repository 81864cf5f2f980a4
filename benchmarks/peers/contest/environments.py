"""One environment for each peer, made once, outside the checkout, from pinned versions.

The peers' pins exclude each other and DMN's own, so that each runs in a virtual environment of its own. Its
folder is named by what is in it: other pins or another Python make another folder, and a finished one is
reused.
"""

import hashlib
import json
import platform
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dmn_runtime.errors import UsageError

PINS = Path(__file__).parents[1]
TORCH = "2.13.0"
"""The one PyTorch of all peers: else their ratios would speak of PyTorch's versions."""
OWN = "dmn"
"""The environment that this program runs in: DMN's own."""
_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9][A-Za-z0-9.+!]*)$")
_READY = "ready.json"
_LISTING = """
import json, platform
from importlib.metadata import distributions
print(json.dumps({"python": platform.python_version(),
                  "packages": {d.name.lower(): d.version for d in distributions() if d.name}}))
"""


@dataclass(frozen=True)
class Environment:
    """An interpreter with a peer in it.

    Attributes:
        name: of the pin file, without its ending.
        pins: distribution to version.
        folder: of the virtual environment; None for an interpreter that the user named.
        python: its interpreter.
    """

    name: str
    pins: dict[str, str]
    folder: Path | None
    python: Path

    @property
    def is_ready(self) -> bool:
        """Tell whether it can be used as it is."""
        return self.folder is None or (self.folder / _READY).is_file()


def parse_pins(text: str, path: str) -> dict[str, str]:
    """Return distribution -> version of a pin file's text.

    Raises:
        UsageError: a line pins nothing, a distribution is named twice, or another torch is asked for.
    """
    pins: dict[str, str] = {}
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        found = _PIN.match(line.strip())
        if found is None:
            raise UsageError(f"{path}: {line.strip()!r} pins nothing, wanted NAME==VERSION")
        if found[1] in pins:
            raise UsageError(f"{path}: {found[1]} is pinned twice, wanted one version of each")
        pins[found[1]] = found[2]
    if not pins:
        raise UsageError(f"{path} pins nothing, wanted lines of NAME==VERSION")
    if pins.get("torch", TORCH) != TORCH:
        raise UsageError(f"{path} pins torch {pins['torch']}, but every peer runs torch {TORCH}")
    return pins


def environment(name: str, envs: Path, named: dict[str, Path]) -> Environment:
    """Describe an environment; make nothing.

    Args:
        name: `OWN`, or the name of a pin file.
        envs: folder of the environments.
        named: interpreters that the user gives instead.

    Raises:
        UsageError: its pins are wrong.
    """
    if name == OWN:
        return Environment(name, {}, None, Path(sys.executable))
    path = PINS / f"{name}.txt"
    text = path.read_text(encoding="utf-8")
    pins = parse_pins(text, path.name)
    if name in named:
        return Environment(name, pins, None, named[name])
    what = json.dumps([sorted(pins.items()), platform.python_version(), platform.machine()])
    folder = envs / f"{name}-{hashlib.sha256(what.encode()).hexdigest()[:10]}"
    inside = Path("Scripts", "python.exe") if sys.platform == "win32" else Path("bin", "python")
    return Environment(name, pins, folder, folder / inside)


def make(wanted: Environment, say: Callable[[str], None]) -> None:
    """Make an environment, unless it is there.

    Raises:
        UsageError: it cannot be made, with pip's last word.
    """
    if wanted.folder is None or wanted.is_ready:
        return
    say(f"making the environment {wanted.name} (once): " + ", ".join(_lines(wanted)))
    wanted.folder.parent.mkdir(parents=True, exist_ok=True)
    pip = [str(wanted.python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    for command in ([sys.executable, "-m", "venv", "--clear", str(wanted.folder)], [*pip, *_lines(wanted)]):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise UsageError(
                f"the environment {wanted.name} cannot be made ({last_words(done.stderr)}): mend that, "
                f"or give an interpreter with --python {wanted.name}=PATH"
            )
    (wanted.folder / _READY).write_text(json.dumps(wanted.pins) + "\n", encoding="utf-8")


def inventory(wanted: Environment) -> dict[str, object]:
    """Return Python's version and every package's of an environment that is there.

    Raises:
        UsageError: its interpreter does not run.
    """
    try:
        asked = subprocess.run(
            [str(wanted.python), "-c", _LISTING], capture_output=True, text=True, check=True, timeout=120
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise UsageError(
            f"{wanted.python} does not run ({type(error).__name__}): give another interpreter for "
            f"{wanted.name}, or remove its environment and run again"
        ) from error
    found: dict[str, object] = json.loads(asked.stdout)
    return found


def last_words(text: str) -> str:
    """Return the last line that says something, for a one-sentence report."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no word"


def _lines(wanted: Environment) -> list[str]:
    return [f"{name}=={version}" for name, version in wanted.pins.items()]
