"""Test programs no one here wrote: smtp-source sends load, miltertest plays Postfix to a milter."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from sandbox.processes import program


def smtp_source(
    port: int,
    mail: Path,
    *,
    messages: int,
    sessions: int,
    sender: str,
    recipient: str,
) -> None:
    """Send one mail many times in parallel sessions; an error if any is refused.

    ``mail`` is a file with LF line ends. Each session is one connection per message, as
    smtp-source does it without ``-d``.
    """
    subprocess.run(
        [
            program("smtp-source", "postfix"),
            *("-s", str(sessions), "-m", str(messages), "-F", mail),
            *("-f", sender, "-t", recipient, "-M", "client.example"),
            f"inet:127.0.0.1:{port}",
        ],
        check=True,
        capture_output=True,
    )


# miltertest says nothing about a script that fails, so this one runs it and says.
_RUN = """\
local chunk, why = loadfile(SCRIPT)
local done = false
if chunk then done, why = pcall(chunk) end
if not done then mt.echo(tostring(why)) error(why) end
"""


def miltertest(script: str, **variables: str) -> str:
    """Run a Lua script of miltertest(8); an error if it fails. The script sees ``variables``."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        given = {**variables, "SCRIPT": file.name}
        defined = [word for name, value in given.items() for word in ("-D", f"{name}={value}")]
        done = subprocess.run(
            [program("miltertest", "miltertest"), *defined],
            input=_RUN,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, f"miltertest: {done.stdout}{done.stderr}"
    return done.stdout
