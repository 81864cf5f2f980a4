"""The install scripts: run for real where the system can, with a Python that only pretends."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from dmn_export.airgap.here import Here
from dmn_export.airgap.plan import AirGapWishes, FolderPlan, plan_folder
from dmn_export.airgap.scripts import first_command, install_bat, install_sh

PRETENDER = """\
#!/bin/sh
echo "{name} $*" >> "$LOG"
[ "$2" != pip ] || echo "pip reads $PIP_CONFIG_FILE" >> "$LOG"
case "$1 $2" in
"-m venv") [ -z "$NO_VENV" ] || exit 1; mkdir -p dmn-env/bin; cp "$0" dmn-env/bin/python ;;
"-m pip") [ -z "$NO_PIP" ] || exit 1 ;;
esac
"""
on_posix = pytest.mark.skipif(sys.platform == "win32", reason="install.sh is for Linux")


@pytest.fixture
def plan(here: Here) -> FolderPlan:
    return plan_folder(AirGapWishes(here, pythons=("3.11", "3.12")))


def run_sh(
    folder: Path, plan: FolderPlan, pythons: tuple[str, ...], **environment: str
) -> tuple[int, str, list[str]]:
    """Run install.sh from elsewhere; return its status, what it printed and what Python was called with."""
    place, tools = folder / "my folder", folder / "tools"
    place.mkdir()
    tools.mkdir()
    (place / "install.sh").write_text(install_sh(plan, "it's mito.zip"))
    for name in pythons:
        (tools / name).write_text(PRETENDER.format(name=name))
        (tools / name).chmod(0o755)
    for name in ("dirname", "mkdir", "cp"):
        (tools / name).symlink_to(f"/bin/{name}" if Path(f"/bin/{name}").exists() else f"/usr/bin/{name}")
    log = folder / "log"
    log.write_text("")
    done = subprocess.run(
        ["/bin/sh", str(place / "install.sh")],
        cwd=folder,
        env={"PATH": str(tools), "LOG": str(log), **environment},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stderr + done.stdout, log.read_text().splitlines()


@on_posix
def test_install_sh_makes_the_environment_beside_itself_and_tells_the_next_command(
    tmp_path: Path, plan: FolderPlan
) -> None:
    status, printed, calls = run_sh(tmp_path, plan, ("python3.11",))
    assert status == 0
    assert calls == [
        "python3.11 -m venv --clear dmn-env",
        "python3.11 -m pip --isolated install --no-index --find-links wheels/linux dmn-em[openvino] "
        "onnxruntime==1.31.1 openvino==2026.4.1",
        "pip reads /dev/null",
    ]
    assert printed.endswith(
        "DMN is installed. Next:\n"
        "  dmn-env/bin/dmn infer 'it'\"'\"'s mito.zip' STACK.tif -o segmentation.ome.zarr\n"
    )
    assert (tmp_path / "my folder" / "dmn-env").is_dir()


@on_posix
def test_install_sh_takes_the_newest_python_that_is_there(tmp_path: Path, plan: FolderPlan) -> None:
    _, _, calls = run_sh(tmp_path, plan, ("python3.11", "python3.12", "python3"))
    assert calls[0] == "python3.12 -m venv --clear dmn-env"


@on_posix
@pytest.mark.parametrize("fault", ["NO_VENV", "NO_PIP"])
def test_install_sh_says_that_it_failed(tmp_path: Path, plan: FolderPlan, fault: str) -> None:
    status, printed, _ = run_sh(tmp_path, plan, ("python3",), **{fault: "1"})
    assert status == 1
    assert "DMN was not installed: see 'If something fails' in README.md" in printed
    assert "DMN is installed" not in printed


def test_install_bat_is_written_for_windows(plan: FolderPlan) -> None:
    text = install_bat(plan, "100% mito.zip")
    assert text.count("\r\n") == text.count("\n") == len(text.splitlines())
    lines = text.splitlines()
    assert lines[2:5] == [
        'setlocal & set "PIP_CONFIG_FILE=nul"',
        'pushd "%~dp0" && (py -3.12 -m venv --clear dmn-env || py -3.11 -m venv --clear dmn-env) '
        "|| goto failed",
        "dmn-env\\Scripts\\python -m pip --isolated install --no-index --find-links wheels\\windows "
        '"dmn-em[openvino]" "onnxruntime==1.31.1" "openvino==2026.4.1" || goto failed',
    ]
    assert 'echo   dmn-env\\Scripts\\dmn infer "100%% mito.zip" STACK.tif -o segmentation.ome.zarr' in lines


def test_scripts_install_no_extra_that_nobody_asked_for(plan: FolderPlan) -> None:
    bare = replace(plan, extras=(), pins=())
    assert 'wheels/linux "dmn-em" ||' in install_sh(bare, "mito.zip")
    assert 'wheels\\windows "dmn-em" ||' in install_bat(bare, "mito.zip")


def test_the_first_command_is_that_of_the_system() -> None:
    assert first_command("linux", "mito.zip").startswith("dmn-env/bin/dmn infer mito.zip STACK.tif")
    assert first_command("windows", "mito.zip").startswith('dmn-env\\Scripts\\dmn infer "mito.zip" STACK.tif')


@on_posix
def test_no_settings_of_pip_reach_the_installation(tmp_path: Path, plan: FolderPlan) -> None:
    """Run the script's own call of pip, the real one, where a pip.conf and a variable would break it."""
    text = install_sh(replace(plan, extras=(), pins=()), "mito.zip")
    export, pip = (line for line in text.splitlines() if line.startswith(("export ", "dmn-env/bin/python ")))
    call = f"{export}\n{pip.removesuffix(' || {')} --help".replace("dmn-env/bin/python", sys.executable)
    settings = tmp_path / "pip.conf"
    settings.write_text("[global]\nno_such = [\n[")
    more = {"PIP_CONFIG_FILE": str(settings), "PIP_PROGRESS_BAR": "no such", "HOME": str(tmp_path)}
    done = subprocess.run(
        ["/bin/sh", "-c", call], env={"PATH": "/bin", **more}, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
