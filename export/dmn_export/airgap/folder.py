"""Write the folder: in a temporary sibling, which is renamed when it is complete (docs/air-gapped.md)."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from packaging.requirements import Requirement

from dmn_export.airgap.closure import missing
from dmn_export.airgap.pip_runner import RunPip, check_result, run_pip
from dmn_export.airgap.plan import BUILD, GPU_LIBRARY, OWN_WHEEL, FolderPlan, PipStep, follow_up
from dmn_export.airgap.readme import write_readme
from dmn_export.airgap.scripts import install_bat, install_sh, wanted
from dmn_export.airgap.sums import SUMS, write_sums
from dmn_export.airgap.target import Target
from dmn_export.airgap.wheel_file import Wheel, read_wheel, read_wheels
from dmn_runtime.contract import Contract
from dmn_runtime.errors import OutputError, UsageError
from dmn_runtime.package import open_package

_MOST_ROUNDS = 5
"""Rounds of bringing what pip left out; each may need something in turn, more than two were never seen."""

Say = Callable[[str], None]


def check_folder(folder: Path, overwrite: bool) -> None:
    """Refuse a place that the folder cannot be written to, before any work is done.

    Raises:
        OutputError: it exists and may not be replaced, is none of ours, or its parent is missing.
    """
    if folder.exists():
        ours = folder.is_dir() and (folder / SUMS).is_file() and (folder / "wheels").is_dir()
        if not overwrite:
            raise OutputError(
                f"{folder} exists already: name another folder, or pass --overwrite to replace an air-gapped "
                "one"
            )
        if not ours:
            raise OutputError(
                f"{folder} is no air-gapped folder (it has no {SUMS} or no wheels), so it is not replaced: "
                "name another one"
            )
    if not folder.absolute().parent.is_dir():
        raise OutputError(f"the folder {folder.absolute().parent} does not exist: make it first")


def write_folder(package: Path, folder: Path, plan: FolderPlan, say: Say, run: RunPip = run_pip) -> None:
    """Carry out a plan; nothing is left behind where it fails.

    Args:
        package: the package, any that `open_package` takes.
        folder: what is written, named as the user wants it.
        plan: from `plan_folder`.
        say: is told each step, one line a step.
        run: runs pip.

    Raises:
        PackageError: the package breaks its contract.
        UsageError: the package and the wheels do not belong together.
        OutputError: pip failed, or the folder cannot be written.
    """
    check_folder(folder, plan.overwrite)
    contract = open_package(package).contract
    if plan.own_wheel is not None and not plan.own_wheel.is_file():
        raise UsageError(f"--own-wheel {plan.own_wheel} cannot be read, wanted a wheel of DMN: give its path")
    _check_engines(contract, plan)
    try:
        with _sibling(folder) as partial:
            _fill(partial, package, contract, plan, say, run)
            _move(partial, folder)
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be written ({error.strerror}): check the folder and the free space"
        ) from error
    say(f"{folder}: {_megabytes(folder)} MB")


def _check_engines(contract: Contract, plan: FolderPlan) -> None:
    pinned = dict(pin.split("==") for pin in plan.pins).get(GPU_LIBRARY)
    for held in contract.plans:
        if held.library == "tensorrt_rtx" and pinned is not None and held.library_version != pinned:
            raise UsageError(
                f"the package's engine {held.member} was built by TensorRT-RTX {held.library_version}, but "
                f"{pinned} would be installed, which does not run it: build the engines again"
            )


@contextmanager
def _sibling(folder: Path) -> Iterator[Path]:
    """Offer a new folder beside `folder`, gone at the end unless it was moved."""
    partial = Path(
        tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".partial", dir=folder.absolute().parent)
    )
    try:
        partial.chmod(0o755)  # mkdtemp's folders are private, this one is for others
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _fill(partial: Path, package: Path, contract: Contract, plan: FolderPlan, say: Say, run: RunPip) -> None:
    shutil.copyfile(package, partial / package.name)
    own = _prepare(partial, plan, say, run)
    for target, step in zip(plan.targets, plan.downloads, strict=True):
        _run(partial, _with_own(step, own), say, run)
        _complete(partial, target, plan, say, run)
    shutil.rmtree(partial / BUILD)
    _write_texts(partial, package.name, contract, plan)
    write_sums(partial)


def _prepare(partial: Path, plan: FolderPlan, say: Say, run: RunPip) -> Path:
    """Fill `BUILD`; return the path of DMN's own wheel, relative to `partial`."""
    build = partial / BUILD
    build.mkdir()
    if plan.own_wheel is not None:
        shutil.copyfile(plan.own_wheel, build / plan.own_wheel.name)
    for step in plan.builds:
        _run(partial, step, say, run)
    own = sorted(build.glob("dmn_em-*.whl"))
    if len(own) != 1:
        raise OutputError(
            f"making the wheel of DMN left {len(own)} files, wanted one: make it elsewhere and give it with "
            "--own-wheel FILE"
        )
    _check_extras(read_wheel(own[0]), plan)
    return own[0].relative_to(partial)


def _check_extras(own: Wheel, plan: FolderPlan) -> None:
    # pip installs without an unknown extra, and says so in a warning that nobody reads.
    unknown = [extra for extra in plan.extras if extra not in own.extras]
    if unknown:
        raise UsageError(
            f"DMN {own.version} has no extra {unknown[0]!r}, it has {', '.join(sorted(own.extras))}: "
            "ask for one of these"
        )


def _with_own(step: PipStep, own: Path) -> PipStep:
    return replace(step, words=tuple(word.replace(OWN_WHEEL, str(own)) for word in step.words))


def _run(partial: Path, step: PipStep, say: Say, run: RunPip) -> None:
    say(f"bringing {step.what}")
    check_result(step, run(step.words, partial))


def _complete(partial: Path, target: Target, plan: FolderPlan, say: Say, run: RunPip) -> None:
    """Bring what pip left out because it read markers with this Python."""
    roots = [Requirement(word) for word in wanted(plan)]
    for _ in range(_MOST_ROUNDS):
        lacking = missing(target, read_wheels(partial / target.wheels), roots)
        if not lacking:
            return
        _run(partial, follow_up(target, lacking), say, run)
    raise OutputError(
        f"the wheels for {target.platform}, Python {target.python} still lack {', '.join(lacking)} after "
        f"{_MOST_ROUNDS} rounds: ask for one Python at a time"
    )


def _write_texts(partial: Path, package_name: str, contract: Contract, plan: FolderPlan) -> None:
    if "linux" in plan.platforms:
        script = partial / "install.sh"
        script.write_text(install_sh(plan, package_name), encoding="utf-8", newline="")
        script.chmod(0o755)
    if "windows" in plan.platforms:
        text = install_bat(plan, package_name)
        (partial / "install.bat").write_text(text, encoding="utf-8", newline="")
    wheels = (wheel for platform in plan.platforms for wheel in read_wheels(partial / "wheels" / platform))
    proprietary = sorted({wheel.name for wheel in wheels if wheel.proprietary})
    readme = write_readme(plan, contract, package_name, proprietary)
    (partial / "README.md").write_text(readme, encoding="utf-8", newline="\n")


def _move(partial: Path, folder: Path) -> None:
    """Rename the complete folder to its place; an older one stays until then."""
    if not folder.exists():
        partial.rename(folder)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".old", dir=folder.absolute().parent))
    aside = old / folder.name
    try:
        folder.rename(aside)
        try:
            partial.rename(folder)
        except OSError:
            aside.rename(folder)
            raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def _megabytes(folder: Path) -> int:
    return round(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6)
