"""`fletching check --postfix` on content filters, trust by service, added recipients."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fletching.checks.all import Level
from fletching.postfix.one_recipient import one_recipient
from fletching.postfix.settings import pieces

from tests.postfix_files import PostfixFiles
from tests.test_check_postfix import config, placed, troubles

BACK = "127.0.0.1:10025 inet n - n - - smtpd\n"
ERROR, WARNING = Level.ERROR, Level.WARNING


@pytest.fixture
def files(tmp_path: Path) -> PostfixFiles:
    """A Postfix that is set up as `fletching postfix` says."""
    files = PostfixFiles(tmp_path / "postfix")
    files.add(pieces(config()))
    return files


def add(files: PostfixFiles, service: str) -> None:
    with files.master_cf.open("a") as end:
        end.write(service)


@pytest.mark.parametrize(
    ("settings", "places"),
    [
        ((), []),
        (("smtp/inet/smtpd_proxy_filter=127.0.0.1:10024",), ["smtp/inet"]),
        (
            (
                "smtp/inet/smtpd_proxy_filter=127.0.0.1:10024",
                "submission/inet/smtpd_proxy_filter=inet:[::1]:10024",
            ),
            ["smtp/inet", "submission/inet"],
        ),
        (
            (
                "smtp/inet/smtpd_proxy_filter=127.0.0.1:10024",
                "smtp/inet/smtpd_milters=inet:[::1]:9",
            ),
            [],
        ),
        (
            (
                "smtp/inet/smtpd_proxy_filter=127.0.0.1:10024",
                "smtp/inet/receive_override_options=no_milters",
            ),
            [],
        ),
    ],
)
def test_proxy_filter_on_a_service_of_ours_is_an_error(
    files: PostfixFiles, settings: tuple[str, ...], places: list[str]
) -> None:
    for setting in settings:
        files.ask("postconf", "-P", setting)
    found = [each for each in troubles(files, config()) if "proxy" in each.place]
    assert placed(found) == [(ERROR, f"{place} smtpd_proxy_filter") for place in places]


def test_proxy_filter_of_main_cf_is_an_error_with_its_cure(files: PostfixFiles) -> None:
    files.set("smtpd_proxy_filter=127.0.0.1:10024")
    found = [each for each in troubles(files, config()) if "proxy" in each.place]
    assert len(found) == 2
    assert "set smtpd_milters= for this service" in found[0].text


CONTENT = "smtp/inet/content_filter=scan:[127.0.0.1]:10024"
PROXY = "smtp/inet/smtpd_proxy_filter=127.0.0.1:10024"
NAMED = BACK + "  -o milter_macro_daemon_name=back\n"
XFORWARD = ":10025 inet n - n - - smtpd\n  -o smtpd_authorized_xforward_hosts=127.0.0.0/8\n"
SUBMISSION = "submission/inet/milter_macro_daemon_name=submission"


@pytest.mark.parametrize(
    ("text", "settings", "service", "wrong"),
    [
        pytest.param("", (CONTENT,), BACK, True, id="content filter"),
        pytest.param("", (PROXY,), BACK, True, id="proxy filter"),
        pytest.param("", (), BACK, False, id="no filter"),
        pytest.param("", (), XFORWARD, True, id="xforward"),
        pytest.param("", (CONTENT,), BACK + "  -o smtpd_milters=\n", False, id="no milter"),
        pytest.param("", (CONTENT,), BACK + "  -o content_filter=x:\n", False, id="filtered"),
        pytest.param("trusted: {networks: []}", (CONTENT,), BACK, False, id="no network"),
        pytest.param("trusted: {networks: [10.0.0.0/8]}", (CONTENT,), BACK, False, id="others"),
        pytest.param(
            "trusted: {services: [submission]}", (CONTENT, SUBMISSION), NAMED, False, id="service"
        ),
        pytest.param(
            "trusted: {services: [submission, back]}",
            (CONTENT, SUBMISSION),
            NAMED,
            False,
            id="service for applications",
        ),
        pytest.param(
            "trusted: {services: [submission, back]}",
            (CONTENT, SUBMISSION),
            XFORWARD + "  -o milter_macro_daemon_name=back\n",
            True,
            id="service is trusted",
        ),
        pytest.param(
            "trusted: {services: [mx]}",
            (CONTENT, "submission/inet/milter_macro_daemon_name=mx"),
            BACK + "  -o milter_macro_daemon_name=other\n",
            False,
            id="name of its own",
        ),
    ],
)
def test_port_that_receives_mail_back_from_a_filter(
    files: PostfixFiles, text: str, settings: tuple[str, ...], service: str, wrong: bool
) -> None:
    add(files, service)
    for setting in settings:
        files.ask("postconf", "-P", setting)
    port = service.split()[0]
    found = [
        each for each in troubles(files, config(text)) if each.place == f"{port}/inet smtpd_milters"
    ]
    assert placed(found) == ([(ERROR, f"{port}/inet smtpd_milters")] if wrong else [])
    assert all("trusted.services" in each.text for each in found)


def test_content_filter_of_main_cf(files: PostfixFiles) -> None:
    files.set("content_filter=scan:[127.0.0.1]:10024")
    add(files, "10025 inet n - n - - smtpd\n  -o content_filter=\n")
    found = placed(troubles(files, config()))
    assert (ERROR, "10025/inet smtpd_milters") in found
    assert (ERROR, "smtp/inet smtpd_milters") not in found


def test_trusted_service_without_a_name_in_master_cf(files: PostfixFiles) -> None:
    settings = config("trusted: {services: [submission, smtps]}")
    assert placed(troubles(files, settings)) == [(ERROR, "trusted.services")] * 2
    files.ask("postconf", "-P", SUBMISSION)
    (found,) = troubles(files, settings)
    assert "milter_macro_daemon_name=smtps" in found.text


def test_recipe_with_trusted_services(tmp_path: Path) -> None:
    settings = config("trusted: {services: [submission]}")
    files = PostfixFiles(tmp_path / "postfix")
    files.add(pieces(settings))
    assert "postconf -P 'SERVICE/inet/milter_macro_daemon_name=submission'" in (
        files.master_cf.read_text()
    )
    recipe = one_recipient(settings)
    assert (
        "BEFORE USE: networks are trusted only at trusted.services (submission)" in recipe.master_cf
    )
    files.add(recipe)
    files.shell(recipe.switch_on)
    assert troubles(files, settings) == []


@pytest.mark.parametrize(
    ("setting", "level"),
    [
        ("always_bcc=archive", ERROR),
        ("always_bcc=archive@local.example", ERROR),
        ("always_bcc=archive@Mailbox.Example", ERROR),
        ("always_bcc=archive@other.example", WARNING),
        ("sender_bcc_maps=static:archive", WARNING),
        ("recipient_bcc_maps=static:archive", WARNING),
        ("virtual_alias_maps=static:archive", WARNING),
        ("virtual_maps=static:archive", WARNING),
        ("canonical_maps=static:archive", WARNING),
        ("recipient_canonical_maps=static:archive", WARNING),
    ],
)
def test_recipients_that_postfix_adds(files: PostfixFiles, setting: str, level: Level) -> None:
    name = setting.partition("=")[0].replace("virtual_maps", "virtual_alias_maps")
    files.set("mydestination=local.example", "virtual_mailbox_domains=mailbox.example")
    files.set(setting)

    def named(text: str = "") -> list[tuple[Level, str]]:
        texts = [each for each in troubles(files, config(text)) if "route_by" in each.text]
        return placed([each for each in texts if each.place.endswith(name)])

    assert named() == [(level, name)]
    assert named("route_by: sender") == []
    files.set("receive_override_options=no_address_mappings")
    assert named() == []


def test_recipients_added_by_a_separate_cleanup_service(files: PostfixFiles) -> None:
    add(files, "pre-cleanup unix n - y - 0 cleanup\n  -o always_bcc=archive\n")
    assert troubles(files, config()) == []
    files.ask("postconf", "-P", "submission/inet/cleanup_service_name=pre-cleanup")
    assert placed(troubles(files, config())) == [(ERROR, "pre-cleanup/unix always_bcc")]


def test_canonical_maps_for_senders_alone_add_no_recipient(files: PostfixFiles) -> None:
    files.set("canonical_maps=static:x", "canonical_classes=header_sender")
    assert troubles(files, config()) == []


@pytest.mark.parametrize(
    ("text", "command", "warned"),
    [
        ("", "pipe user=nobody argv=/bin/filter", True),
        ("trusted: {services: [mx]}", "pipe user=nobody argv=/bin/filter", True),
        ("trusted: {networks: []}", "pipe user=nobody argv=/bin/filter", False),
        ("", "smtp", False),
        ("", "lmtp", False),
    ],
)
def test_filter_that_may_return_mail_through_sendmail(
    files: PostfixFiles, text: str, command: str, warned: bool
) -> None:
    add(files, f"scan unix - n n - 2 {command}\n")
    files.ask("postconf", "-P", "smtp/inet/content_filter=scan:dummy")
    found = [each for each in troubles(files, config(text)) if "sendmail" in each.text]
    assert placed(found) == ([(WARNING, "smtp/inet content_filter")] if warned else [])


# The set-ups of docs/content-filters.md

PAGE = (Path(__file__).parent.parent / "docs" / "content-filters.md").read_text()


def shown(heading: str) -> str:
    """The lines of master.cf that a section of the page shows."""
    section = PAGE.partition(f"\n## {heading}")[2].partition("\n## ")[0]
    lines = re.findall(r"(?m)^    (.*)$", section)
    return "".join(f"{line}\n" for line in lines if re.match(r" |\S+ +(?:inet|unix) ", line))


@pytest.mark.parametrize("with_proxy_filter", [False, True])
def test_examples_in_the_documentation_have_no_findings(
    files: PostfixFiles, with_proxy_filter: bool
) -> None:
    content, proxy = shown("An after-queue content filter"), shown("A before-queue proxy filter")
    parts = (content, proxy) if with_proxy_filter else (content,)
    for text in parts:
        for service in re.findall(r"(?m)^(\S+) +(?:inet|unix) ", text):
            if files.ask("postconf", "-M").find(f"\n{service} ") >= 0:
                files.ask("postconf", "-MX", f"{service}/inet")
        add(files, text)
    settings = config("trusted: {services: [applications]}")
    found = troubles(files, settings)
    assert placed(found) == ([] if with_proxy_filter else [(WARNING, "smtp/inet content_filter")])
