"""What libraries log, in our log: which of it, how much, and in which form."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from fletching.daemons.process import library_log
from fletching.daemons.process.log_limit import LogLimit


@pytest.fixture(autouse=True)
def taken() -> Iterator[None]:
    root = logging.getLogger()
    before, levels = root.handlers, {name: logging.getLogger(name).level for name in ERRORS_ONLY}
    hooks = sys.excepthook, threading.excepthook
    library_log.log_libraries("web")
    yield
    sys.excepthook, threading.excepthook = hooks
    root.handlers = before
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


ERRORS_ONLY = ("asyncio", "uvicorn.error")


@pytest.mark.parametrize(
    ("name", "level", "message", "line"),
    [
        ("mail.log", logging.ERROR, "gone", "library library=mail.log message=gone"),
        ("redis", logging.WARNING, "a retry", 'library library=redis message="a retry"'),
        ("redis.pool", logging.INFO, "a connection", ""),
        ("asyncio", logging.ERROR, "broken", "library library=asyncio message=broken"),
        ("asyncio", logging.WARNING, "socket.send() raised exception.", ""),
        ("uvicorn.error", logging.WARNING, "Invalid HTTP request received.", ""),
        ("uvicorn.error", logging.ERROR, "no\nstart", "library library=uvicorn.error message=no"),
        ("x", logging.ERROR, "a\x1b[31m", 'library library=x message="a\\x1b[31m"'),
        ("x", logging.CRITICAL, "%s %s", 'library library=x message="%s %s"'),
    ],
)
def test_lines(
    capfd: pytest.CaptureFixture[str], name: str, level: int, message: str, line: str
) -> None:
    logging.getLogger(name).log(level, message)
    assert capfd.readouterr().err == (f"{line}\n" if line else "")


def test_each_library_has_one_line_a_minute(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("fletching.daemons.process.log_limit.time.monotonic", lambda: now)
    for name in ("one", "one", "other", "one"):
        logging.getLogger(name).error("%s", "failed")
    assert capfd.readouterr().err.splitlines() == [
        "library library=one message=failed",
        "library library=other message=failed",
    ]
    now += library_log.EVERY
    logging.getLogger("one").error("failed")
    assert capfd.readouterr().err == "library library=one message=failed left_out=2\n"


def test_traceback_is_logged(capfd: pytest.CaptureFixture[str]) -> None:
    try:
        raise OSError("broken")
    except OSError:
        logging.getLogger("x").exception("a callback failed")
    lines = capfd.readouterr().err.splitlines()
    assert lines[0] == 'library library=x message="a callback failed"'
    assert lines[-1] == "traceback library=x | OSError: broken"


def test_arguments_that_do_not_match_the_format(capfd: pytest.CaptureFixture[str]) -> None:
    record = logging.LogRecord("x", logging.ERROR, __file__, 1, "%d", ("no number",), None)
    library_log.Libraries().handle(record)
    assert capfd.readouterr().err == "library library=x message=%d\n"


def test_a_line_is_due_once_in_an_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1.0
    monkeypatch.setattr("fletching.daemons.process.log_limit.time.monotonic", lambda: now)
    limit = LogLimit(10)
    assert [limit.is_due() for _ in range(3)] == [True, False, False]
    assert (limit.take_skipped(), limit.take_skipped()) == (2, 0)
    now = 11.0
    assert limit.is_due()


ENDS = "from fletching.daemons.process import library_log; library_log.log_libraries('web'); "


@pytest.mark.parametrize(
    ("what", "program"),
    [
        ("the process", "1 / 0"),
        ("a thread", "import threading; threading.Thread(target=lambda: 1 / 0).start()"),
    ],
)
def test_uncaught_exceptions_are_logged(what: str, program: str) -> None:
    done = subprocess.run([sys.executable, "-c", ENDS + program], capture_output=True, check=False)
    lines = done.stderr.decode().splitlines()
    assert lines[0] == 'crashed daemon=web error="ZeroDivisionError: division by zero"'
    assert lines[-1] == "traceback daemon=web | ZeroDivisionError: division by zero"
    assert all(line.startswith("traceback daemon=web | ") for line in lines[1:])
