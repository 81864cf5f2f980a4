"""The install scripts: two lines that do the work, then the next command.

pip is kept from every setting of the PC: `--isolated` passes over the user's pip.conf and variables, and a
PIP_CONFIG_FILE that is the null device over the system's, either of which could send pip to a network.
"""

import shlex

from dmn_export.airgap.plan import FolderPlan

ENVIRONMENT = "dmn-env"
"""Folder of the virtual environment, beside the script."""

_SH = """\
#!/bin/sh
# Installs DMN into the folder {env}, from the wheels beside; needs Python {pythons}, no network, no rights.
export PIP_CONFIG_FILE=/dev/null
cd "$(dirname "$0")" && {{ {finding}; }} &&
{env}/bin/python -m pip --isolated install --no-index --find-links wheels/linux {wanted} || {{
    echo "DMN was not installed: see 'If something fails' in README.md" >&2; exit 1; }}
echo "DMN is installed. Next:"
printf '  %s\\n' {next}
"""

_BAT = """\
@echo off
rem Installs DMN into the folder {env}, from the wheels beside; needs Python {pythons}, no network, no rights.
setlocal & set "PIP_CONFIG_FILE=nul"
pushd "%~dp0" && ({finding}) || goto failed
{env}\\Scripts\\python -m pip --isolated install --no-index --find-links wheels\\windows {wanted} \
|| goto failed
echo DMN is installed. Next, in a command prompt in this folder:
echo   {next}
popd
pause
exit /b 0
:failed
echo DMN was not installed: see "If something fails" in README.md
popd
pause
exit /b 1
"""


def install_sh(plan: FolderPlan, package_name: str) -> str:
    """Return install.sh; it tries the newest Python of the plan first."""
    commands = (*(f"python{python}" for python in plan.pythons), "python3")
    finding = " || ".join(f"{command} -m venv --clear {ENVIRONMENT}" for command in commands)
    return _SH.format(
        env=ENVIRONMENT,
        pythons=" or ".join(plan.pythons),
        finding=finding,
        wanted=" ".join(f'"{word}"' for word in wanted(plan)),
        next=shlex.quote(first_command("linux", package_name)),
    )


def install_bat(plan: FolderPlan, package_name: str) -> str:
    r"""Return install.bat, with the line ends \r\n that Windows wants."""
    finding = " || ".join(f"py -{python} -m venv --clear {ENVIRONMENT}" for python in plan.pythons)
    text = _BAT.format(
        env=ENVIRONMENT,
        pythons=" or ".join(plan.pythons),
        finding=finding,
        wanted=" ".join(f'"{word}"' for word in wanted(plan)),
        next=first_command("windows", package_name).replace("%", "%%"),
    )
    return text.replace("\n", "\r\n")


def wanted(plan: FolderPlan) -> tuple[str, ...]:
    """Return what the scripts have pip install: DMN and the pinned engines."""
    return (plan.own_requirement, *plan.pins)


def first_command(platform: str, package_name: str) -> str:
    """Return the command that segments a first stack, as it is typed in the folder."""
    if platform == "windows":
        return f'{ENVIRONMENT}\\Scripts\\dmn infer "{package_name}" STACK.tif -o segmentation.ome.zarr'
    return f"{ENVIRONMENT}/bin/dmn infer {shlex.quote(package_name)} STACK.tif -o segmentation.ome.zarr"
