"""`dmn doctor`: what this PC can run, and what would help."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from dmn_runtime.checkup import Finding, check_up
from dmn_runtime.errors import EXIT_USER_ERROR

_SIGNS = {"works": "ok", "optional": "-", "slow": "slow", "broken": "BROKEN"}


def command(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Say what this PC can run and what would make it faster, each with the command that mends it.

    Looks at processor, memory, disk, libraries and GPU, opens the embedded package, runs its network on a
    test tile and times it for a second. The exit status is 0 if dmn can work here, else 2.
    """
    findings = check_up()
    can_work = all(finding.state != "broken" for finding in findings)
    document = {"can_work": can_work, "findings": [asdict(finding) for finding in findings]}
    typer.echo(json.dumps(document) if as_json else checkup_text(findings))
    if not can_work:
        raise typer.Exit(EXIT_USER_ERROR)


def checkup_text(findings: list[Finding]) -> str:
    """Return the findings as lines for people, with the verdict last."""
    return "\n".join([*(line for finding in findings for line in _lines(finding)), "", *_verdict(findings)])


def _lines(finding: Finding) -> list[str]:
    lines = [f"{_SIGNS[finding.state]:<7}{finding.name:<13}{finding.text}"]
    return lines if finding.mend is None else [*lines, f"{'':<20}{finding.mend}"]


def _verdict(findings: list[Finding]) -> list[str]:
    broken = [finding.name for finding in findings if finding.state == "broken"]
    if broken:
        return [f"verdict: dmn does not work here; broken: {', '.join(broken)}"]
    slow = [f"could be better: {finding.text}" for finding in findings if finding.state == "slow"]
    return ["verdict: dmn works here", *slow]
