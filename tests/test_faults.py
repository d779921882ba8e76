"""What an option names and cannot be used: told with file, line and key."""

from __future__ import annotations

from pathlib import Path

import pytest
from fletching.config.faults import UnusableError, named_by, with_line
from fletching.config.load import ConfigError, load
from fletching.keys.dkim_keys import new_dkim_key
from fletching.startup import open_setup


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "fletching.yaml"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(
            "verp: true\nlink_keys: /none/keys\n",
            ":2: link_keys: /none/keys: No such file or directory",
            id="link keys",
        ),
        pytest.param(
            "dkim:\n"
            "  keys:\n"
            "  - {domain: a.example, selector: s, file: a.pem}\n"
            "  - domain: b.example\n"
            "    selector: s\n"
            "    file: /none/b.pem\n",
            ":6: dkim.keys[1].file: /none/b.pem: No such file or directory",
            id="the second DKIM key",
        ),
    ],
)
def test_a_key_file(file: Path, text: str, said: str) -> None:
    new_dkim_key(file.with_name("a.pem"), "ed25519")
    file.write_text(text)
    with pytest.raises(ConfigError) as wrong, with_line(file):
        open_setup(load(file))
    assert str(wrong.value) == f"{file}{said}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("web: {listen: x}\n", ":1: web.listen: gone", id="on its line"),
        pytest.param("a: 1\nweb: {}\n", ":2: web.listen: gone", id="built in: its section's"),
        pytest.param("verp: true\n", ": web.listen: gone", id="built in, and no section: none"),
        pytest.param(None, ": web.listen: gone", id="the file is gone by now"),
        pytest.param("a: [\n", ": web.listen: gone", id="the file is broken by now"),
    ],
)
def test_error_has_the_line_of_the_option(file: Path, text: str | None, said: str) -> None:
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigError) as wrong, with_line(file):
        raise UnusableError(("web", "listen"), "gone")
    assert str(wrong.value) == f"{file}{said}"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (FileNotFoundError(2, "No such file or directory", "/a"), "/a: No such file or directory"),
        (OSError(28, "No space left on device"), "No space left on device"),
    ],
)
def test_system_error_names_its_file(error: OSError, said: str) -> None:
    with pytest.raises(UnusableError) as wrong, named_by("state_dir", fault=OSError):
        raise error
    assert (wrong.value.place, wrong.value.message) == (("state_dir",), said)


def test_other_exceptions_pass_through() -> None:
    with pytest.raises(KeyError), named_by("state_dir", fault=OSError):
        raise KeyError
