"""The command line: one table of commands; a command's module is imported when it is called."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

import typer

from dmn_runtime._version import __version__
from dmn_runtime.errors import EXIT_INTERRUPTED, EXIT_USER_ERROR, DmnError


@dataclass(frozen=True)
class Command:
    """Where a command lives (`module`, function `command`) and its one line of help."""

    module: str
    help: str


COMMANDS: dict[str, Command] = {
    "demo": Command("dmn_runtime.commands.demo", "segment a made-up volume, end to end, in a minute"),
    "infer": Command("dmn_runtime.commands.infer", "stream a volume through a package"),
    "inspect": Command("dmn_runtime.commands.inspect", "say in plain words what a file holds"),
    "build": Command("dmn_runtime.commands.build", "build TensorRT engines for this GPU or for others"),
    "verify": Command("dmn_runtime.commands.verify", "examine a package's engines on this machine"),
    "evaluate": Command("dmn_runtime.commands.evaluate", "compare a prediction with a mask"),
    "bench": Command("dmn_runtime.commands.bench", "measure how fast a package runs here"),
    "budget": Command("dmn_runtime.commands.budget", "does this machine keep up with an acquisition?"),
    "doctor": Command("dmn_runtime.commands.doctor", "what this PC can run, and what would help"),
    "engines": Command("dmn_runtime.commands.engines", "list or prune the engines built on this machine"),
    "train": Command("dmn_train.commands.train", "train a network from a recipe"),
    "study": Command("dmn_train.commands.study", "train a grid of runs, score them and report"),
    "search": Command("dmn_train.commands.search", "rank settings by cross-validation on the source"),
    "distill": Command("dmn_train.commands.distill", "teach a small network what an adapted one says"),
    "export": Command("dmn_export.commands.export", "turn a run into a certified package"),
    "adapt": Command("dmn_export.commands.adapt", "from two volumes to a certified package"),
}


def _load(name: str) -> Callable[..., None]:
    function: Callable[..., None] = import_module(COMMANDS[name].module).command
    return function


def _unloaded() -> None:
    """Stand in for a command that this call does not run."""


def build_app(wanted: str | None) -> typer.Typer:
    """Build the app with every command listed and only `wanted` imported."""
    app = typer.Typer(
        name="dmn",
        help="Carry a segmentation network to somebody else's microscope.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    for name, entry in COMMANDS.items():
        app.command(name, help=None if name == wanted else entry.help)(
            _load(name) if name == wanted else _unloaded
        )

    @app.callback(invoke_without_command=True)
    def root(
        version: bool = typer.Option(False, "--version", help="Print the version and stop."),
    ) -> None:
        if version:
            typer.echo(f"dmn {__version__}")
            raise typer.Exit

    return app


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit status.

    Args:
        arguments: words after the program's name; None takes those of the process.
    """
    words = sys.argv[1:] if arguments is None else arguments
    wanted = words[0] if words and words[0] in COMMANDS else None
    name = f"dmn {wanted}" if wanted else "dmn"
    try:
        build_app(wanted)(words, prog_name="dmn")
    except DmnError as error:
        typer.echo(f"{name}: {error}", err=True)
        return EXIT_USER_ERROR
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        if status == EXIT_INTERRUPTED:  # typer turns Ctrl-C into this status, without a word
            typer.echo(f"{name}: interrupted", err=True)
        return status
    return 0


def entry() -> None:
    """Enter from the console script."""
    sys.exit(main())
