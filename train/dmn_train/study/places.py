"""How a report calls files, for readers elsewhere."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Places:
    """The study, the runs' folder, the report's folder, each as a reader would type it."""

    study: str
    output: str
    report: str

    @property
    def command(self) -> str:
        """What trains the study and writes its report."""
        return f"dmn study {self.study} -o {self.output} --report-to {self.report}"
