"""One file a command; each exposes a function `command`, a typer callback."""
