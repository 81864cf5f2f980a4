"""The command table: help imports nothing, errors are one sentence, the lean import stays lean."""

import subprocess
import sys

import pytest

from dmn_runtime import cli, errors
from dmn_runtime._version import __version__
from dmn_runtime.cli import COMMANDS, main

HEAVY = ["torch", "onnx", "matplotlib", "kornia", "lightning_fabric", "pydantic", "scipy", "skimage"]
HEAVY += ["openvino", "tensorrt", "tensorrt_rtx", "cuda"]
EXTRAS = ["torch", "onnx", "lightning_fabric", "kornia", "safetensors", "skimage", "cc3d", "h5py", "mrcfile"]


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize(
    "name",
    ["infer", "demo", "inspect", "evaluate", "doctor", "build", "verify", "engines", "bench", "budget"],
)
def test_a_runtime_command_never_imports_anything_heavy(name: str) -> None:
    code = f"import sys, {COMMANDS[name].module}; print([m for m in {HEAVY} if m in sys.modules])"
    # zarr 3 imports pydantic-free; a heavy name here means that the lean install would break.
    assert run_python(code) == "[]"


def test_help_imports_no_command() -> None:
    code = (
        "import sys; from dmn_runtime.cli import main; main(['--help']);"
        "print([m for m in ('numpy', 'onnxruntime', 'zarr', 'tifffile', 'rich') if m in sys.modules])"
    )
    assert run_python(code).endswith("[]")


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for name, entry in COMMANDS.items():
        assert f"  {name} " in shown
        assert entry.help in shown


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_has_help_of_its_own(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    assert f"Usage: dmn {name}" in capsys.readouterr().out


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"dmn {__version__}\n"


def test_an_unknown_command_or_option_is_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fly"]) == 2
    assert "fly" in capsys.readouterr().err
    assert main(["inspect", "--fly"]) == 2


def test_a_users_error_is_one_sentence_and_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise errors.VolumeError("x.tif is not there")

    monkeypatch.setattr(cli, "_load", lambda _: fail)
    assert main(["infer"]) == 2
    assert capsys.readouterr().err == "dmn infer: x.tif is not there\n"


def test_an_interrupt_is_status_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_load", lambda _: stop)
    assert main(["infer"]) == 130
    assert capsys.readouterr().err == "dmn infer: interrupted\n"


def test_our_own_bugs_are_not_dressed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def bug() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "_load", lambda _: bug)
    with pytest.raises(ZeroDivisionError):
        main(["infer"])


@pytest.mark.parametrize(("name", "extra"), [("train", "train"), ("export", "export")])
def test_a_missing_extra_is_the_command_that_mends_it(name: str, extra: str) -> None:
    hide = "".join(f"sys.modules[{module!r}] = None; " for module in EXTRAS)
    code = f"import sys; {hide}from dmn_runtime.cli import main; sys.exit(main([{name!r}, 'x']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"dmn {name}: to ")
    assert "pip install 'dmn-em[" in done.stderr
    assert extra in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_drawn_tree_of_errors_is_the_tree() -> None:
    for name, thing in vars(errors).items():
        if isinstance(thing, type) and issubclass(thing, errors.DmnError):
            assert f" {name} " in f" {errors.__doc__} ".replace("\n", " "), name
