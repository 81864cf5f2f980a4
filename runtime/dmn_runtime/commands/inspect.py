"""`dmn inspect`: say in plain words what a package or a volume holds."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated
from zipfile import is_zipfile

import typer

from dmn_runtime.inspection import package_json, package_text, volume_facts, volume_text
from dmn_runtime.package import DEMO_WORD, open_package, resolve_package
from dmn_runtime.volume.open import open_volume


def command(
    path: Annotated[str, typer.Argument(help="A package, the word demo for the embedded one, or a volume.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Say in plain words what a package or a volume holds, and which command to try next.

    A package is checked whole. Of a volume a sample is read: the same one that decides its normalisation.
    """
    typer.echo(_package(path, as_json) if _names_package(path) else _volume(path, as_json))


def _is_zip(path: Path) -> bool:
    # os.path.isfile, unlike Path.is_file, is false for names that the system refuses.
    return os.path.isfile(path) and is_zipfile(path)  # noqa: PTH113


def _names_package(word: str) -> bool:
    path = Path(word)
    return word == DEMO_WORD or path.suffix.lower() == ".zip" or _is_zip(path)


def _package(word: str, as_json: bool) -> str:
    package = open_package(resolve_package(word))
    if as_json:
        return json.dumps({"kind": "package", **package_json(package)}, allow_nan=False)
    return package_text(package, word)


def _volume(path: str, as_json: bool) -> str:
    with open_volume(path) as volume:
        facts = volume_facts(volume)
    if as_json:
        return json.dumps({"kind": "volume", **asdict(facts)}, allow_nan=False)
    return volume_text(facts)
