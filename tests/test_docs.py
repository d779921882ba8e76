"""The pages say what is there, and nothing that is not."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from fletching.admin import lint_reference
from fletching.cli.main import main
from fletching.config.model import Config
from fletching.config.sections import Events
from fletching.config.values import BOUNCE_LOCAL_PART
from fletching.figures import campaign_row
from fletching.mail.message import parse
from fletching.policy import control, grammar
from fletching.policy.return_path import SUFFIX_LENGTH
from fletching.returning import hits
from fletching.store.connection import Limits
from fletching.store.counts import Campaign
from fletching.tokens import TAG_LENGTH

from tests.host import Host
from tests.test_house import RULES

ROOT = Path(__file__).parent.parent
HEADERS = (ROOT / "docs" / "headers.md").read_text("utf-8")
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*.md")]
)
NAMES = sorted({name for name, _ in control._FIELDS.values()} | {"X-GreenArrow-DKIM"})


def section(name: str) -> str:
    """What the page says about a header."""
    text = HEADERS.partition(f"\n## {name}\n")[2]
    return text.partition("\n## ")[0]


def example(text: str) -> bytes:
    """The indented lines."""
    lines = re.findall(r"(?m)^    (.*)$", text)
    return "\n".join([*lines, "", ""]).encode()


@pytest.mark.parametrize("name", NAMES)
def test_every_control_header_is_explained(name: str) -> None:
    text = section(name)
    assert "**Valid:**" in text
    assert "nvalid" in text
    found = control.read(parse(example(text)).headers)
    assert found.invalid == ()
    assert f"    {name}: " in text
    assert found.count >= 1


def test_no_other_header_is_explained() -> None:
    titles = re.findall(r"(?m)^## (X-\S+)$", HEADERS)
    assert sorted(titles) == NAMES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_names_a_header_that_is_not_there(page: Path) -> None:
    named = re.findall(r"X-GreenArrow-[A-Za-z][A-Za-z-]*", page.read_text("utf-8"))
    assert set(named) <= set(NAMES)


ROOM_FOR_SUFFIX = BOUNCE_LOCAL_PART - SUFFIX_LENGTH - 1
NUMBERS = (
    ("headers", f"most {grammar.LONGEST_URI} characters long"),
    ("headers", f"at most {control.MOST_SIGNATURES} signatures in all"),
    ("headers", f"at most {BOUNCE_LOCAL_PART} characters before the `@` ({ROOM_FOR_SUFFIX} with"),
    ("mail", f"more than {control.MOST_FIELDS} control headers"),
    ("return-path", f"over {BOUNCE_LOCAL_PART} characters before the `@`, over {ROOM_FOR_SUFFIX}"),
    ("return-path", f"at most {TAG_LENGTH} of the characters"),
    ("tracking", f"a URL longer than {hits.LONGEST_TARGET >> 10} KiB"),
    ("tracking", f"a body larger than {hits.LONGEST_BODY >> 10} KiB"),
    ("failure", f"does not answer within {Limits().answer * 1000:.0f} ms"),
    ("campaigns", f"`campaign_window` ({Config().campaign_window // 86400} days by default)"),
    ("return-path", f"`bounce_memory` ({Config().bounce_memory // 86400} days by default)"),
    ("events", f"`events.keep` ({Events().keep // 86400} days)"),
)


@pytest.mark.parametrize(("page", "text"), NUMBERS)
def test_numbers_are_those_of_the_code(page: str, text: str) -> None:
    assert text in " ".join((ROOT / "docs" / f"{page}.md").read_text("utf-8").split())


def keys(command: str) -> set[str]:
    """The keys that docs/commands.md gives for the output of a command."""
    text = (ROOT / "docs" / "commands.md").read_text("utf-8").partition(f"\n## {command}\n")[2]
    section = text.partition("\n## ")[0]
    assert section, command
    rows = re.findall(r"(?m)^\| (`.*?`) \|", section)
    prose = re.sub(r"(?m)^\|.*$|`{.*?}`", "", section)
    return set(re.findall(r"`([a-z_]+)`", "\n".join([*rows, prose])))


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_json_of_preview_and_explain_is_documented(host: Host) -> None:
    preview = host.json("preview", str(host.mail))
    edits = {key for edit in preview["edits"] for key in edit}
    assert preview.keys() | edits <= keys("fletching preview --json")
    assert preview["edits"] != []
    assert {edit["edit"] for edit in preview["edits"]} <= keys("fletching preview --json")
    added = host.json("explain", str(host.mail)).keys() - preview.keys()
    assert added <= keys("fletching explain --json")


def test_json_of_token_is_documented(host: Host) -> None:
    sender = host.json("preview", str(host.mail))["mail_from"]
    assert host.json("token", sender).keys() <= keys("fletching token --json")
    mail = host.run("preview", str(host.mail)).stdout_bytes.decode()
    (link, *_) = re.findall(r"https://click\.example\.com/click\?[\w-]+", mail.replace("=\r\n", ""))
    assert host.json("token", link).keys() == keys("fletching token --json")


def test_json_of_lists_is_documented(host: Host) -> None:
    (*_, mta) = host.json("mta", "list")["virtual_mtas"]
    assert mta.keys() <= keys("fletching mta list --json")
    (key, *_) = host.json("key", "list")["keys"]
    assert key.keys() == keys("fletching key list --json")


def test_json_of_stats_is_documented() -> None:
    assert campaign_row(Campaign()).keys() <= keys("fletching stats --json")


def replies() -> Iterator[str]:
    """A pattern for each SMTP reply that the code gives, but for those that name a header."""
    for path in (ROOT / "milter").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Refusal":
                pieces = [pattern(argument) for argument in node.args]
                if len(pieces) == 3 and pieces[2] != ".+":
                    yield " ".join(pieces)


def pattern(node: ast.expr) -> str:
    """A pattern for the values of an expression: its constant text, and anything for the rest."""
    if isinstance(node, ast.Constant):
        return re.escape(str(node.value))
    if isinstance(node, ast.JoinedStr):
        return "".join(map(pattern, node.values))
    return ".+"


def test_every_smtp_reply_is_documented() -> None:
    page = (ROOT / "docs" / "failure.md").read_text("utf-8")
    found = set(replies())
    assert len(found) >= 8
    assert [reply for reply in sorted(found) if not re.search(f"`{reply}`", page)] == []


def commands(group: click.Group = main, before: str = "fletching") -> Iterator[str]:
    for name, command in group.commands.items():
        yield f"{before} {name}"
        if isinstance(command, click.Group):
            yield from commands(command, f"{before} {name}")


COMMANDS = set(commands())


def test_every_command_is_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    for command in COMMANDS:
        word = command.split()[1]
        assert f"fletching {word}" in text or f"`{word}`" in text, command


def called(text: str) -> set[str]:
    """The commands that a page gives, in backquotes or indented."""
    code = re.findall(r"`([^`\n]+)`", text) + re.findall(r"(?m)^    +(.*)$", text)
    words = re.findall(
        r"(?:^|&& |sudo |bin/)fletching ([a-z]+)(?: ([a-z]+)\b)?", "\n".join(code), re.M
    )
    groups = {name for name, command in main.commands.items() if isinstance(command, click.Group)}
    return {f"fletching {one} {two}" if one in groups else f"fletching {one}" for one, two in words}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_gives_a_command_that_is_not_there(page: Path) -> None:
    text = page.read_text("utf-8")
    # `fletching mta` alone means the group.
    assert {command.rstrip() for command in called(text)} <= COMMANDS


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub and GitLab make them."""
    text = re.sub(r"(?ms)^```.*?^```$", "", text)
    titles = re.findall(r"(?m)^#+ (.*)$", text)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def dead_links(page: Path, text: str) -> list[str]:
    """The links of a page to files and headings that do not exist."""
    found = []
    for link in re.findall(r"\]\((?!https?:)([^()\s]+)\)", text):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text("utf-8"))):
            found.append(link)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    assert dead_links(page, page.read_text("utf-8")) == []


def log_words(text: str) -> set[str]:
    """What a page says that the log contains: words in backquotes, in sentences about the log."""
    sentences = re.split(r"\n\n|\n\||(?<=[.;|])\s", text)
    about = [sentence for sentence in sentences if re.search(r"\blog\b", sentence)]
    words = re.findall(r"`([a-z]+_[a-z_]+)\b|`([a-z_]+)(?: [^`]*)?` in the log", "\n".join(about))
    return {word for pair in words for word in pair if word}


def test_log_words_exist() -> None:
    source = ast.parse((ROOT / "milter" / "fletching" / "log.py").read_text("utf-8"))
    known = {node.value for node in ast.walk(source) if isinstance(node, ast.Constant)}
    options = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        words = log_words(page.read_text("utf-8"))
        assert [word for word in words - known if f"`{word}`" not in options] == [], page.name
    said = "The log has\n`some_word`. `other_word`. | `word what=x` in the log | `more` |"
    assert log_words(said) == {"some_word", "word"}


def unknown_findings(text: str) -> list[str]:
    """The findings of `fletching check` in a table's first column that no code of checks/ gives.

    Only the words up to the first figure or sign are compared.
    """
    constants = [
        str(node.value)
        for path in (ROOT / "milter" / "fletching" / "checks").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant)
    ]
    cells = re.findall(r"(?m)^\| `check`: (.*?) \|", text)
    found = [quoted for cell in cells for quoted in re.findall(r"`(?:redis: )?([^`]*)`", cell)]
    starts = [re.split(r"[0-9+]|\.\.\.", finding)[0].strip() for finding in found]
    return [start for start in starts if not any(start in constant for constant in constants)]


def test_findings_of_check_exist() -> None:
    assert unknown_findings((ROOT / "README.md").read_text("utf-8")) == []
    assert unknown_findings("| `check`: `redis: version 6.2`, `no such 5` | x |") == ["no such"]


def missing_paths(text: str) -> list[str]:
    """The files and folders in backquotes that do not exist in the repository or the package.

    A name alone may be in any folder of the package or of the tests.
    """
    package = ROOT / "milter" / "fletching"
    names = {path.name for folder in (package, ROOT / "tests") for path in folder.rglob("*")}
    found = []
    for path in re.findall(r"`([\w.*/-]+(?:/|\.py))`", text):
        if path.rstrip("/") not in names and not any(any(at.glob(path)) for at in (ROOT, package)):
            found.append(path)
    return found


def test_architecture_names_paths_that_exist() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    assert missing_paths(text) == []
    assert missing_paths("`links/nosuch.py`, `nosuch/`, `nosuch.py`, `policy/`, `html.py`") == [
        "links/nosuch.py",
        "nosuch/",
        "nosuch.py",
    ]


def test_architecture_lists_folders_in_the_order_of_imports() -> None:
    """A folder comes after those that it imports, and every folder with a rule is listed."""
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    rows = re.findall(r"(?m)^\| (`.*?) \|", text.partition("## Folders")[2].partition("## ")[0])
    listed: list[str] = []
    for row in rows:
        first, *others = re.findall(r"`(.*?)(?:/|\.py)`", row)
        folder = first.rpartition("/")[0]
        listed += [first, *(name if name in RULES else f"{folder}/{name}" for name in others)]
    assert RULES.keys() - {*listed, "", "daemons", "__main__"} == set()
    for place, name in enumerate(listed):
        later = listed[place + 1 :]
        rule = RULES.get(name)
        assert rule is None or rule.may_import.isdisjoint(later), name


CITING = sorted(
    path
    for folder in (
        "milter",
        "tests",
        "sandbox",
        "bench",
        "demo",
        "monitoring",
        "mutate",
        "networks",
        "docs",
        "deploy",
    )
    for path in (ROOT / folder).rglob("*")
    if path.suffix in {".py", ".lua", ".md", ".service", ".html"}
)
# A heading is cited in quotes after the page: docs/mail.md, "Mail Class".
CITATION = re.compile(r"\bdocs/([\w./-]+\w)(?:, \"([^\"]+)\")?")


def dead_citations(text: str) -> list[str]:
    """The citations of pages and headings of docs/ that do not exist."""
    found = []
    for page, heading in CITATION.findall(re.sub(r"\s*\n[\s#]*", " ", text)):
        files = [*(ROOT / "docs").glob(f"{page}*")]
        titles = re.findall(r"(?m)^#+ (.*)$", files[0].read_text("utf-8")) if files else []
        if not files or (heading and heading not in titles):
            found.append(f"{page} {heading}".rstrip())
    return found


def test_cited_pages_and_headings_exist() -> None:
    assert len(CITING) > 100
    dead = {}
    for path in CITING:
        if path != Path(__file__) and (found := dead_citations(path.read_text("utf-8"))):
            dead[str(path.relative_to(ROOT))] = found
    assert dead == {}


def test_only_pages_of_this_repository_are_cited() -> None:
    elsewhere = re.compile(r"\bSPEC(?:\.md|\b[ \n])|\breference/\w+\.md")
    texts = {path: path.read_text("utf-8") for path in CITING if path != Path(__file__)}
    assert [str(path) for path, text in texts.items() if elsewhere.search(text)] == []


def test_the_tests_can_fail() -> None:
    assert dead_citations('see docs/nosuch.md; docs/mail.md, "Nosuch"; docs/decisions/9999') == [
        "nosuch.md",
        "mail.md Nosuch",
        "decisions/9999",
    ]
    fine = '# docs/mail.md,\n# "Mail Class"; docs/decisions/0019; docs/events.md.'
    assert dead_citations(fine) == []
    page = ROOT / "README.md"
    assert dead_links(page, "[a](docs/nosuch.md) [b](docs/mail.md#nosuch) [c](#nosuch)") == [
        "docs/nosuch.md",
        "docs/mail.md#nosuch",
        "#nosuch",
    ]
    assert dead_links(page, "[a](docs/mail.md#mail-class) [b](#redis)") == []
    assert section("X-GreenArrow-Nosuch") == ""
    assert called("`fletching nosuch`\n\n    fletching key new && fletching mta stop x") == {
        "fletching nosuch",
        "fletching key new",
        "fletching mta stop",
    }
    assert called("the `fletching.service`") == set()


def test_page_about_lint_is_generated_from_the_rules() -> None:
    assert (ROOT / "docs" / "lint.md").read_text("utf-8") == lint_reference.page()


def test_json_of_lint_is_documented(host: Host) -> None:
    host.mail.write_bytes(b"Subject: x\n\nx")
    found = host.json("lint", str(host.mail))
    finding = found["findings"][0]
    names = found.keys() | finding.keys() | finding["sources"][0].keys()
    assert names <= keys("fletching lint --json")
