"""What the library says while it works: kept, because its error texts come out nowhere else."""

from dataclasses import dataclass, field
from typing import Any

from dmn_runtime.trt.api import Api

_MOST_CHARACTERS = 700
_NO_DRIVER = "cudaError 35"  # follows every error on a computer without a driver, and is not its cause


@dataclass
class Log:
    """The library's errors, oldest first; what it says below that level is dropped."""

    errors: list[str] = field(default_factory=list)

    def words(self) -> str:
        """Return the errors as one line, or a word that there are none."""
        lines = [" ".join(text.split()) for text in self.errors]
        causes = [line for line in lines if _NO_DRIVER not in line] or lines
        return "; ".join(dict.fromkeys(causes))[:_MOST_CHARACTERS] or "it gave no reason"


def make_logger(api: Api, log: Log) -> Any:
    """Return a logger for the library's objects, which must outlive them all; its errors go to `log`."""
    severe = (api.ILogger.INTERNAL_ERROR, api.ILogger.ERROR)

    class Logger(api.ILogger):  # type: ignore[misc,name-defined]
        """The library wants a subclass, and its __init__ called by name."""

        def __init__(self) -> None:
            api.ILogger.__init__(self)  # type: ignore[misc]

        def log(self, severity: Any, msg: str) -> None:
            if severity in severe:
                log.errors.append(msg)

    return Logger()
