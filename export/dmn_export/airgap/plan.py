"""What making the folder will take: every command of pip in order, decided before anything is run."""

from dataclasses import dataclass, field
from pathlib import Path

from dmn_export.airgap.here import OWN_NAME, Here
from dmn_export.airgap.target import PLATFORM_TAGS, Target, check_target
from dmn_runtime.errors import MissingExtra, UsageError
from dmn_runtime.trt.targets import PLATFORMS, parse_targets

OWN_WHEEL = "{dmn-em wheel}"
"""Stands in a command for the path of DMN's own wheel, whose name is known once it was built."""
BUILD = ".build"
DEFAULT_EXTRAS = ("openvino",)
MORE_EXTRAS = ("codecs", "hdf5", "mrc", "objects")
"""What a folder may hold on request; the others make packages, which a PC without network does not."""
GPU_EXTRA = "tensorrt-rtx"
GPU_EXTRAS = ("gpu", GPU_EXTRA)
"""What running an engine takes: the way to the GPU, and the library that built it."""
GPU_LIBRARY = "tensorrt-rtx-cu13"
_ENGINE_OF_EXTRA = {"openvino": "openvino", GPU_EXTRA: GPU_LIBRARY}


@dataclass(frozen=True)
class AirGapWishes:
    """What a user asks for.

    Attributes:
        here: facts of the running installation, from `look_here`.
        platforms: of the PCs, keys of `PLATFORM_TAGS`.
        pythons: their Pythons, as "3.11"; empty takes the running one.
        gpu_families: NVIDIA families that the package holds engines for, as "rtx40"; they bring TensorRT-RTX.
        extras: of DMN; None takes `DEFAULT_EXTRAS`, and `GPU_EXTRAS` where GPU families are asked.
        more_extras: of `MORE_EXTRAS`, beside those.
        own_wheel: a wheel of DMN to take instead of making one.
        overwrite: replace an existing air-gapped folder.
    """

    here: Here
    platforms: tuple[str, ...] = tuple(PLATFORM_TAGS)
    pythons: tuple[str, ...] = ()
    gpu_families: tuple[str, ...] = ()
    extras: tuple[str, ...] | None = None
    more_extras: tuple[str, ...] = ()
    own_wheel: Path | None = None
    overwrite: bool = False


@dataclass(frozen=True)
class PipStep:
    """One call of pip, run in the folder that is being made.

    Attributes:
        what: what it brings, for people.
        words: arguments of pip.
        mend: what the user can do where it fails.
    """

    what: str
    words: tuple[str, ...]
    mend: str


@dataclass(frozen=True)
class FolderPlan:
    """All that is decided.

    Attributes:
        targets: one for each platform and Python.
        extras: of DMN that are installed on the PC.
        pins: requirements beside DMN: the engine libraries at the versions that certify and build here.
        own_wheel: file to copy as DMN's wheel; None where a step of `builds` makes it.
        builds: steps that fill the folder `BUILD` with what no index has as a wheel.
        downloads: one step a target, in the order of `targets`.
        gpu_families: as wished, each once.
        overwrite: as wished.
    """

    targets: tuple[Target, ...]
    extras: tuple[str, ...]
    pins: tuple[str, ...]
    own_wheel: Path | None
    builds: tuple[PipStep, ...]
    downloads: tuple[PipStep, ...] = field(repr=False)
    gpu_families: tuple[str, ...]
    overwrite: bool

    @property
    def platforms(self) -> tuple[str, ...]:
        """Platforms, each once, in the order that they were asked for."""
        return tuple(dict.fromkeys(target.platform for target in self.targets))

    @property
    def pythons(self) -> tuple[str, ...]:
        """Pythons, each once, newest first: the one that the install scripts try first."""
        return tuple(
            sorted({target.python for target in self.targets}, key=lambda word: int(word[2:]), reverse=True)
        )

    @property
    def own_requirement(self) -> str:
        """What is installed on the PC, as pip reads it."""
        return f"{OWN_NAME}[{','.join(self.extras)}]" if self.extras else OWN_NAME


def plan_folder(wishes: AirGapWishes) -> FolderPlan:
    """Decide every step of the folder.

    Raises:
        UsageError: a platform, Python or extra that there is none of, a platform where GPUs are asked for,
            or a wheel that is none of DMN.
        EngineError: a GPU family that there is none of.
        MissingExtra: GPU engines are asked for, and the library that builds them is not installed.
    """
    targets = _targets(wishes)
    families = _families(wishes.gpu_families)
    extras = _extras(wishes)
    pins = _pins(extras, wishes.here)
    if wishes.own_wheel is not None:
        _check_own_wheel(wishes.own_wheel)
    own = () if wishes.own_wheel is not None else (_own_step(wishes.here),)
    return FolderPlan(
        targets=targets,
        extras=extras,
        pins=pins,
        own_wheel=wishes.own_wheel,
        builds=own + tuple(_meta_step(pin) for pin in pins if pin.startswith(GPU_LIBRARY)),
        downloads=tuple(_download(target, extras, pins) for target in targets),
        gpu_families=families,
        overwrite=wishes.overwrite,
    )


def describe_plan(plan: FolderPlan, folder: Path, package_name: str) -> str:
    """Return the plan as text for `--dry-run`: the commands that would run, then the files."""
    copied = [f"copy {plan.own_wheel} {BUILD}/"] if plan.own_wheel is not None else []
    commands = [f"pip {' '.join(step.words)}" for step in (*plan.builds, *plan.downloads)]
    files = [package_name, *(f"wheels/{platform}/*.whl" for platform in plan.platforms)]
    files += [script for platform, script in INSTALL_SCRIPTS.items() if platform in plan.platforms]
    files += ["README.md", "SHA256SUMS"]
    lines = ["would run:", *copied, *commands, f"would write {folder}:", *files]
    return "\n".join(line if line.startswith("would") else f"  {line}" for line in lines)


INSTALL_SCRIPTS = {"linux": "install.sh", "windows": "install.bat"}
"""Platform -> its install script."""


def follow_up(target: Target, requirements: tuple[str, ...]) -> PipStep:
    """Return the step that brings what pip left out of a target's wheels (see `missing`)."""
    return PipStep(
        what=f"what only {target.platform} with Python {target.python} needs: {', '.join(requirements)}",
        words=(*_download_words(target), "--find-links", target.wheels, *requirements),
        mend=_download_mend(target),
    )


def _targets(wishes: AirGapWishes) -> tuple[Target, ...]:
    pythons = wishes.pythons or (wishes.here.python,)
    if not wishes.platforms:
        raise UsageError(f"no platform is asked for: ask for {' or '.join(PLATFORM_TAGS)}")
    checked = [check_target(platform, python) for platform in wishes.platforms for python in pythons]
    return tuple(dict.fromkeys(checked))


def _families(words: tuple[str, ...]) -> tuple[str, ...]:
    if words:
        parse_targets(",".join(words))
    families = tuple(dict.fromkeys(word.strip().lower() for word in words))
    # Engines are built for every platform of the folder in turn, so that none belongs among the GPUs.
    named = [word for word in families if word in PLATFORMS]
    if named:
        raise UsageError(
            f"--for {','.join(words)} names the system {named[0]}, wanted GPUs alone: name systems with "
            "--platform"
        )
    return families


def _extras(wishes: AirGapWishes) -> tuple[str, ...]:
    more = tuple(word.strip().lower() for word in wishes.more_extras)
    for word, given in zip(more, wishes.more_extras, strict=True):
        if word not in MORE_EXTRAS:
            raise UsageError(
                f"--with {','.join(wishes.more_extras)} names {given!r}, wanted "
                f"{', '.join(MORE_EXTRAS[:-1])} or {MORE_EXTRAS[-1]}, comma between: leave it out"
            )
    usual = (*DEFAULT_EXTRAS, *GPU_EXTRAS) if wishes.gpu_families else DEFAULT_EXTRAS
    return tuple(dict.fromkeys((*(usual if wishes.extras is None else wishes.extras), *more)))


def _pins(extras: tuple[str, ...], here: Here) -> tuple[str, ...]:
    """Pin the engines: a certificate speaks of one version, and a TensorRT-RTX plan runs on no other."""
    versions = dict(here.engines)
    if GPU_EXTRA in extras and GPU_LIBRARY not in versions:
        raise MissingExtra(
            f"to prepare a PC with an NVIDIA GPU, {GPU_LIBRARY} must be installed here, where the engines "
            f"are built: pip install '{OWN_NAME}[{GPU_EXTRA}]'"
        )
    wanted = ["onnxruntime", *(_ENGINE_OF_EXTRA[extra] for extra in extras if extra in _ENGINE_OF_EXTRA)]
    return tuple(f"{name}=={versions[name]}" for name in wanted if name in versions)


def _check_own_wheel(path: Path) -> None:
    if not path.name.startswith("dmn_em-") or path.suffix != ".whl":
        raise UsageError(
            f"--own-wheel {path} is no wheel of DMN, wanted a file dmn_em-VERSION-py3-none-any.whl"
        )


def _own_step(here: Here) -> PipStep:
    if here.source is not None:
        words: tuple[str, ...] = ("wheel", "--no-deps", "--wheel-dir", BUILD, str(here.source))
    else:
        asked = f"{OWN_NAME}=={here.version}"
        words = ("download", "--no-deps", "--only-binary=:all:", "--dest", BUILD, asked)
    return PipStep(
        what=f"the wheel of DMN {here.version}",
        words=words,
        mend="make or copy that wheel elsewhere and give it with --own-wheel FILE",
    )


def _meta_step(pin: str) -> PipStep:
    # The index has it as a source distribution alone: a few lines that name the two real wheels.
    return PipStep(
        what=f"the wheel of {pin}",
        words=("wheel", "--no-deps", "--wheel-dir", BUILD, pin),
        mend="connect this PC to a network, or prepare the folder for CPUs alone",
    )


def _download(target: Target, extras: tuple[str, ...], pins: tuple[str, ...]) -> PipStep:
    own = f"{OWN_WHEEL}[{','.join(extras)}]" if extras else OWN_WHEEL
    return PipStep(
        what=f"the wheels for {target.platform}, Python {target.python}",
        words=(*_download_words(target), own, *pins),
        mend=_download_mend(target),
    )


def _download_words(target: Target) -> tuple[str, ...]:
    platforms = (word for tag in PLATFORM_TAGS[target.platform] for word in ("--platform", tag))
    return (
        "download",
        *("--dest", target.wheels, "--find-links", BUILD, "--only-binary=:all:"),
        *platforms,
        *("--python-version", target.python, "--implementation", "cp"),
    )


def _download_mend(target: Target) -> str:
    return f"connect this PC to a network, or leave {target.platform} or Python {target.python} out"
