"""The folder's README.md, for the person at the microscope."""

from collections.abc import Sequence
from textwrap import fill

from dmn_export.airgap.certificates import certificate_table
from dmn_export.airgap.plan import GPU_EXTRA, INSTALL_SCRIPTS, FolderPlan
from dmn_export.airgap.scripts import ENVIRONMENT, first_command
from dmn_runtime.contract import Contract
from dmn_runtime.words import counted

_TEXT = """\
# {name}: segmentation for a PC without network

{description}

This folder holds all that is needed to find *{classes}* in your images: the trained network (`{package}`)
and the program that runs it (DMN), with everything that the program needs. Nothing is fetched from a
network, and no image leaves your PC.

## Install

The PC needs a 64-bit Python {pythons}{installer}.
Copy this folder to the PC's own disk first: a memory stick is slow, and the program is
installed into the folder.

{steps}

Everything goes into `{env}` in this folder; to remove the program, delete that folder. If
you move this folder, install again.

## First use

{commands}

{formats}
The answer is `segmentation.ome.zarr`, with a report and a preview picture beside it. A run that was stopped
goes on with `--resume`.

If your file does not say how large a voxel is, tell it in nanometres (z, y, x): `--voxel-nm 40,5,5`. The
network was trained at {voxel} nm.

## What was measured

Before this package was written, each of its arithmetics (fp32 is the exact one, the others are faster) was
compared with the trained network on {tiles}. None that changed the segmentation by more than
allowed is in it.

{certificates}

The speed is that of the device in its row, not of your PC. The table says that nothing was lost on the way
to this folder; it does not say how well the network segments *your* images. To measure that, outline
objects in a few slices of your own and run `dmn evaluate segmentation.ome.zarr your_mask.tif`.

## If something fails

The program is called as in the first command, by its path in this folder.

- `dmn doctor` says what this PC can run, and what would help.
- `dmn verify {package}` repeats the measurement above on this PC.
- The installation stops at once: Python {pythons} is not installed (another version does
  not do){venv}.
- The installation stops in the middle: the folder may have been damaged on its way. On Linux `sha256sum -c
  SHA256SUMS` in this folder names the files that differ; copy these again.
- Nothing helps: send the line that the program printed last, and what `dmn doctor` says, to whoever gave
  you this folder.

## Licences

How the network may be used is said in `bioimageio.yaml` inside `{package}` (a zip archive), if its makers
chose a licence. Each wheel in `wheels` (a zip archive too) carries its own.{proprietary}
"""

_STEPS = {
    "linux": """\
**Linux** (x86-64, glibc 2.28 or newer, as Debian 10, Ubuntu 20.04, RHEL 8)

1. Open a terminal in this folder.
2. Run `sh install.sh`.""",
    "windows": """\
**Windows** (10 or 11, 64-bit)

1. Open this folder.
2. Double-click `install.bat`.""",
}
_WIDTH = 105
_READERS = {"hdf5": "HDF5", "mrc": "MRC", "codecs": "TIFFs compressed with LZW, Zstandard or JPEG"}
"""Extra -> what it makes readable."""
_SYSTEM = {
    "linux": "Linux, in a terminal in this folder",
    "windows": "Windows, in a command prompt in this folder",
}


def write_readme(plan: FolderPlan, contract: Contract, package_name: str, proprietary: Sequence[str]) -> str:
    """Return the README in Markdown.

    Args:
        plan: of the folder.
        contract: of the package.
        package_name: file name of the package in the folder.
        proprietary: names of the wheels under a proprietary licence.
    """
    platforms = [platform for platform in INSTALL_SCRIPTS if platform in plan.platforms]
    first = next(iter(contract.precisions.values())).certificates[0]
    return _TEXT.format(
        name=contract.name,
        description=contract.description,
        classes=", ".join(contract.classes),
        package=package_name,
        pythons=" or ".join(plan.pythons),
        installer=_installer(platforms),
        steps="\n\n".join(_STEPS[platform] for platform in platforms),
        env=ENVIRONMENT,
        commands="\n\n".join(
            f"{_SYSTEM[platform]}:\n\n    {first_command(platform, package_name)}" for platform in platforms
        ),
        voxel=" x ".join(f"{edge:g}" for edge in contract.voxel_nm),
        formats=_formats(plan.extras),
        tiles=counted(first.tiles, "real tile"),
        certificates=certificate_table(contract),
        venv=",\n  or, on Debian and Ubuntu, the system's package `python3-venv` is missing"
        if "linux" in platforms
        else "",
        proprietary=_proprietary(plan, proprietary),
    )


def _formats(extras: Sequence[str]) -> str:
    """Say what can be read with these extras, and what not."""
    held = [title for extra, title in _READERS.items() if extra in extras]
    lacking = [title for extra, title in _READERS.items() if extra not in extras]
    read = _listed(["folders of images", "OME-Zarr", *held], "and")
    text = f"`STACK.tif` stands for your own stack; {read} are read too."
    if lacking:
        text += f" This folder holds nothing that reads {_listed(lacking, 'or')}."
    return fill(text, _WIDTH)


def _listed(words: Sequence[str], last: str) -> str:
    return f" {last} ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]


def _installer(platforms: Sequence[str]) -> str:
    if "windows" not in platforms:
        return ""
    return " (on Windows with its launcher `py`, which Python's own installer brings)"


def _proprietary(plan: FolderPlan, names: Sequence[str]) -> str:
    if not names:
        return ""
    why = f"\nThey are here because engines for {', '.join(plan.gpu_families)} were asked for."
    return (
        f" These are proprietary: {', '.join(names)}.\nWhoever made this folder downloaded them under their"
        " makers' terms, which also say whether the folder may be passed on: read the licence in the wheel"
        " before you do." + (why if plan.gpu_families and GPU_EXTRA in plan.extras else "")
    )
