"""Where the meter is shown."""

import io

from dmn_runtime.live.meter import metering


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_in_a_log_and_one_line_on_a_terminal() -> None:
    log, terminal = io.StringIO(), Terminal()
    for stream in (log, terminal):
        with metering(stream) as watch:
            watch.say("a [bold]sentence")
            watch.show("3 slices [red]arrived")
            watch.show("4 slices arrived")
    assert log.getvalue() == "a [bold]sentence\n3 slices [red]arrived\n"
    assert "a [bold]sentence" in terminal.getvalue()
