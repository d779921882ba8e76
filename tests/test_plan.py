"""decide.py: who is trusted, which Mail Class a mail has, what an invalid header does."""

from __future__ import annotations

import pytest

from tests.setting import SITE, config, envelope, mail, plan, reason

CLASSIFIED = "X-GreenArrow-MailClass: newsletter"

# Trust.


@pytest.mark.parametrize(
    ("client", "trusted"),
    [
        ("127.0.0.1", True),
        ("127.255.255.254", True),
        ("128.0.0.1", False),
        ("::1", True),
        ("::2", False),
        ("::ffff:127.0.0.1", True),
        ("::ffff:198.51.100.7", False),
        ("0:0:0:0:0:0:0:1", True),
        ("198.51.100.7", False),
        ("", False),
        ("localhost", False),
        ("127.0.0.1, 10.0.0.1", False),
        ("2130706433", False),
        ("127.1", False),
    ],
)
def test_loopback_networks_are_trusted_by_default(client: str, trusted: bool) -> None:
    found = plan(mail(CLASSIFIED), envelope(client=client))
    assert found.trusted == trusted
    assert (found.mail_class is not None) == trusted
    assert reason(found, "trusted") == ("yes" if trusted else "no", "trusted.networks")


@pytest.mark.parametrize(
    ("networks", "client", "trusted"),
    [
        ("[]", "127.0.0.1", False),
        ("[198.51.100.0/24]", "198.51.100.255", True),
        ("[198.51.100.0/24]", "198.51.101.0", False),
        ("[198.51.100.0/24]", "::ffff:198.51.100.9", True),
        ("[198.51.100.0/24]", "127.0.0.1", False),
        ("[198.51.100.9]", "198.51.100.9", True),
        ("['2001:db8::/32']", "2001:db8:1::5", True),
        ("['2001:db8::/32']", "2001:db9::5", False),
        ("['2001:db8::/32']", "198.51.100.9", False),
        ("['0.0.0.0/0', '::/0']", "203.0.113.200", True),
        ("['0.0.0.0/0', '::/0']", "", False),
    ],
)
def test_trusted_by_configured_networks(networks: str, client: str, trusted: bool) -> None:
    site = f"trusted: {{networks: {networks}}}\n" + SITE
    assert plan(mail(CLASSIFIED), envelope(client=client), site).trusted == trusted


@pytest.mark.parametrize(
    ("settings", "client", "login", "trusted"),
    [
        ("{}", "198.51.100.7", "shop", True),
        ("{}", "198.51.100.7", "nobody in the file", True),
        ("{}", "198.51.100.7", "", False),
        ("{}", "198.51.100.7", None, False),
        ("{authenticated: false}", "198.51.100.7", "shop", False),
        ("{authenticated: false}", "127.0.0.1", "shop", True),
    ],
)
def test_trusted_by_login(settings: str, client: str, login: str | None, trusted: bool) -> None:
    site = f"trusted: {settings}\n" + SITE
    found = plan(mail(CLASSIFIED), envelope(client=client, login=login), site)
    assert found.trusted == trusted
    assert reason(found, "trusted")[0] == ("yes" if trusted else "no")


ONLY_SUBMISSION = "{services: [submission, smtps]}"


@pytest.mark.parametrize(
    ("settings", "service", "client", "login", "local", "trusted"),
    [
        ("{}", None, "127.0.0.1", None, False, True),
        ("{}", "reinjection", "127.0.0.1", None, False, True),
        ("{services: []}", "reinjection", "127.0.0.1", None, False, True),
        (ONLY_SUBMISSION, "submission", "127.0.0.1", None, False, True),
        (ONLY_SUBMISSION, "smtps", "::1", None, False, True),
        (ONLY_SUBMISSION, "submission", "198.51.100.7", None, False, False),
        (ONLY_SUBMISSION, "reinjection", "127.0.0.1", None, False, False),
        (ONLY_SUBMISSION, "Submission", "127.0.0.1", None, False, False),
        (ONLY_SUBMISSION, "submission2", "127.0.0.1", None, False, False),
        (ONLY_SUBMISSION, "", "127.0.0.1", None, False, False),
        (ONLY_SUBMISSION, None, "127.0.0.1", None, False, False),
        # A login is trusted at every service; sendmail(1) comes through none.
        (ONLY_SUBMISSION, "reinjection", "198.51.100.7", "shop", False, True),
        (ONLY_SUBMISSION, "mx.example.com", "127.0.0.1", None, True, True),
        (ONLY_SUBMISSION, None, "127.0.0.1", None, True, True),
        ("{services: [submission], networks: []}", "submission", "127.0.0.1", None, False, False),
        ("{services: [submission], networks: []}", None, "127.0.0.1", None, True, False),
        ("{services: [a], authenticated: false}", "b", "127.0.0.1", "shop", False, False),
    ],
)
def test_networks_are_trusted_only_at_trusted_services(
    settings: str,
    service: str | None,
    client: str,
    login: str | None,
    local: bool,
    trusted: bool,
) -> None:
    site = f"trusted: {settings}\n" + SITE
    around = envelope(client=client, login=login, local=local, service=service)
    assert plan(mail(CLASSIFIED), around, site).trusted == trusted


def test_untrusted_service_is_the_source_of_the_decision() -> None:
    site = f"trusted: {ONLY_SUBMISSION}\n" + SITE
    found = plan(mail(CLASSIFIED), envelope(service="reinjection"), site)
    assert reason(found, "trusted") == ("no", "trusted.services")


def test_untrusted_mail_only_loses_its_control_headers() -> None:
    message = mail(
        CLASSIFIED,
        "X-GreenArrow-InstanceID: nonsense",
        "X-GreenArrow-DKIM: {}",
        "X-Fletching-Route: vmta-a",
    )
    site = "on_invalid_header: reject\ndefault_mail_class: newsletter\n" + SITE
    found = plan(message, envelope(client="198.51.100.7"), site)
    assert not found.trusted
    assert found.remove == {4, 5, 6, 7}
    assert found.mail_class is None
    assert found.refusal is None
    assert found.signatures == ()
    assert found.warnings == ()
    assert found.logged == ()


# Mail Class.

CLASSES = """\
users:
  forced: {force_mail_class: f, mail_class: u}
  usual: {mail_class: u}
  plain: {}
  long@shop.example: {mail_class: u}
  long: {mail_class: f}
default_mail_class: d
mail_classes: {f: {}, h: {}, u: {}, d: {}}
"""


@pytest.mark.parametrize(
    ("login", "header", "name", "source"),
    [
        ("forced", None, "f", "users.forced.force_mail_class"),
        ("forced", "h", "f", "users.forced.force_mail_class"),
        ("forced", "unknown", "f", "users.forced.force_mail_class"),
        ("usual", "h", "h", "X-GreenArrow-MailClass"),
        ("usual", "H", "h", "X-GreenArrow-MailClass"),
        ("usual", None, "u", "users.usual.mail_class"),
        ("usual", "unknown", "u", "users.usual.mail_class"),
        ("usual", "not valid", "u", "users.usual.mail_class"),
        ("plain", "h", "h", "X-GreenArrow-MailClass"),
        ("plain", None, "d", "default_mail_class"),
        ("nobody", "h", "h", "X-GreenArrow-MailClass"),
        ("nobody", None, "d", "default_mail_class"),
        # A login with a realm: the full name wins over the part before the @.
        ("usual@shop.example", None, "u", "users.usual.mail_class"),
        ("forced@a@b", None, "d", "default_mail_class"),
        ("usual@", None, "u", "users.usual.mail_class"),
        ("long@shop.example", None, "u", "users.long@shop.example.mail_class"),
        ("long@other.example", None, "f", "users.long.mail_class"),
        ("long@SHOP.example", None, "f", "users.long.mail_class"),
        ("long", None, "f", "users.long.mail_class"),
        ("@shop.example", None, "d", "default_mail_class"),
        ("shop.example", None, "d", "default_mail_class"),
        (None, "h", "h", "X-GreenArrow-MailClass"),
        (None, None, "d", "default_mail_class"),
        (None, "unknown", "d", "default_mail_class"),
    ],
)
def test_mail_class_comes_from_the_strongest_source(
    login: str | None, header: str | None, name: str, source: str
) -> None:
    fields = () if header is None else (f"X-GreenArrow-MailClass: {header}",)
    found = plan(mail(*fields), envelope(login=login), CLASSES)
    assert found.mail_class is not None
    assert found.mail_class.name == name
    assert reason(found, "mail_class") == (name, source)


DAEMON = "Mail Delivery System <MAILER-DAEMON@mx.example.com>"
REPORT = 'Content-Type: multipart/report; report-type=delivery-status;\n\tboundary="b"'
H = "X-GreenArrow-MailClass: h"


@pytest.mark.parametrize(
    ("sender", "author", "fields", "local", "name"),
    [
        pytest.param("", DAEMON, (REPORT,), True, None, id="bounce"),
        pytest.param("", "Help <help@x.example>", (REPORT,), True, None, id="own template"),
        pytest.param("double-bounce@mx.example.com", DAEMON, (), True, None, id="notice"),
        pytest.param("odd@mx.example.com", DAEMON, (), True, None, id="double_bounce_sender"),
        pytest.param("", "mailer-daemon@x.example", (), True, None, id="case"),
        pytest.param("", DAEMON, (REPORT, H), True, "h", id="asks for a class"),
        pytest.param("", "shop@example.com", (), True, "d", id="null sender by sendmail"),
        pytest.param("", "shop@example.com", (), False, "d", id="null sender by SMTP"),
        pytest.param("", DAEMON, (REPORT,), False, "d", id="bounce by SMTP"),
        pytest.param("a@x.example", "MAILER-DAEMON <a@x.example>", (), True, "d", id="by name"),
        pytest.param("a@x.example", "a-mailer-daemon@x.example", (), True, "d", id="longer name"),
        pytest.param(
            *("", "a@x.example", ("Content-Type: multipart/report; report-type=feedback-report",)),
            *(True, "d"),
            id="report of another kind",
        ),
    ],
)
def test_mail_generated_by_postfix_gets_no_default_class(
    sender: str, author: str, fields: tuple[str, ...], local: bool, name: str | None
) -> None:
    around = envelope(sender=sender, local=local, mailer=None if local else "smtp")
    found = plan(mail(*fields, sender=author), around, CLASSES).mail_class
    assert (found and found.name) == name


def test_no_default_mail_class_means_no_mail_class() -> None:
    assert plan(mail(), site="mail_classes: {a: {}}").mail_class is None


def test_unknown_mail_class_is_a_warning() -> None:
    found = plan(mail("X-GreenArrow-MailClass: nosuch"), site=CLASSES)
    assert "X-GreenArrow-MailClass: must name a configured Mail Class" in found.warnings


def test_control_headers_without_mail_class_are_a_warning() -> None:
    found = plan(mail("X-GreenArrow-InstanceID: 1"), site="mail_classes: {a: {}}")
    assert found.warnings == ("no Mail Class; control headers removed and ignored",)
    assert found.trusted
    assert found.remove == {4}
    assert plan(mail(), site="mail_classes: {a: {}}").warnings == ()


def test_mail_without_class_and_control_headers_has_an_empty_plan() -> None:
    found = plan(mail("List-Unsubscribe-Post: x", "X-Mailer-Info: x"), site="mail_classes: {a: {}}")
    assert found.nothing


def test_sendid_has_the_class_name_as_configured() -> None:
    site = "mail_classes: {News_Letter: {}}"
    found = plan(
        mail("X-GreenArrow-MailClass: NEWS_letter", "X-GreenArrow-InstanceID: 7"), site=site
    )
    assert found.sendid == "News_Letter7"


# Invalid headers.


def test_equal_warnings_are_given_once() -> None:
    found = plan(mail(CLASSIFIED, *["X-GreenArrow-DKIM: {"] * 50))
    assert found.warnings == ("X-GreenArrow-DKIM: must be valid JSON",)


STRICT = "on_invalid_header: reject\n" + SITE
WRONG = "X-GreenArrow-InstanceID: abc"
WRONG_REPLY = "550 5.6.0 X-GreenArrow-InstanceID: must start with a digit"


def classes(**options: str) -> str:
    """A site whose classes `a` and `b` have these options."""
    return "mail_classes:\n" + "".join(f"  {n}: {{{o}}}\n" for n, o in options.items())


@pytest.mark.parametrize(
    ("everywhere", "in_class", "refused"),
    [
        (None, None, False),
        ("ignore", None, False),
        ("reject", None, True),
        ("reject", "ignore", False),
        ("ignore", "reject", True),
        (None, "reject", True),
        ("reject", "reject", True),
    ],
)
def test_on_invalid_header_of_the_class_wins_over_the_global_one(
    everywhere: str | None, in_class: str | None, refused: bool
) -> None:
    site = classes(a=f"on_invalid_header: {in_class}" if in_class else "")
    site += f"on_invalid_header: {everywhere}\n" if everywhere else ""
    found = plan(mail("X-GreenArrow-MailClass: a", WRONG), site=site)
    assert (str(found.refusal) == WRONG_REPLY) == refused
    assert (found.refusal is None) != refused
    assert "X-GreenArrow-InstanceID: must start with a digit" in found.warnings


@pytest.mark.parametrize(
    ("field", "reply"),
    [
        (WRONG, WRONG_REPLY),
        (
            "X-GreenArrow-MailClass: nosuch",
            "550 5.6.0 X-GreenArrow-MailClass: must name a configured Mail Class",
        ),
        (
            "X-GreenArrow-MailClass: no-such",
            "550 5.6.0 X-GreenArrow-MailClass: must be 1 to 64 letters (A to Z, a to z)"
            " and underscores",
        ),
        (
            "X-GreenArrow-MtaID: nosuch",
            "550 5.6.0 X-GreenArrow-MtaID: must name a configured VirtualMTA",
        ),
        ("X-GreenArrow-DKIM: {", "550 5.6.0 X-GreenArrow-DKIM: must be valid JSON"),
        (
            "X-GreenArrow-Click-Tracking-Do: maybe",
            "550 5.6.0 X-GreenArrow-Click-Tracking-Do: must be yes, no, 1 or 0",
        ),
        ("X-GreenArrow-URL-Domain: example.com", None),
        ("X-GreenArrow-Something: else", None),
    ],
)
def test_invalid_header_rejects_the_mail_in_strict_mode(field: str, reply: str | None) -> None:
    login = "shop"  # so that there is a class in any case
    found = plan(mail(field), envelope(login=login), STRICT)
    assert (str(found.refusal) if found.refusal else None) == reply
    assert found.warnings, "an ignored header is a warning"


def test_invalid_header_rejects_mail_without_class_in_strict_mode() -> None:
    site = "on_invalid_header: reject\nmail_classes: {a: {}}"
    assert str(plan(mail(WRONG), site=site).refusal) == WRONG_REPLY


def test_invalid_class_header_is_ignored_if_the_login_forces_a_class() -> None:
    found = plan(mail("X-GreenArrow-MailClass: 1nvalid"), envelope(login="crm"), STRICT)
    assert found.refusal is None
    assert found.mail_class is not None
    assert found.mail_class.name == "crm"
    assert any(text.startswith("X-GreenArrow-MailClass: must be") for text in found.warnings)


def test_reply_is_one_line_of_ascii() -> None:
    for field in (WRONG, "X-GreenArrow-DKIM: {", "X-GreenArrow-ListID: \udcff%s"):
        reply = str(plan(mail(CLASSIFIED, field), site=STRICT).refusal)
        assert reply.isascii()
        assert reply.isprintable()


# What decisions depend on.


@pytest.mark.parametrize(
    "fields",
    [
        (),
        (CLASSIFIED,),
        (CLASSIFIED, WRONG, "X-GreenArrow-MtaID: b", "List-Unsubscribe: <mailto:u@example.com>"),
        ("X-GreenArrow-DKIM: {}", "X-GreenArrow-Obscured-Email: user-7"),
    ],
)
@pytest.mark.parametrize("client", ["127.0.0.1", "198.51.100.7"])
def test_decisions_do_not_depend_on_the_body(fields: tuple[str, ...], client: str) -> None:
    one, other = (
        plan(mail(*fields, body=body), envelope(client=client))
        for body in ("", "X-GreenArrow-MailClass: crm\n\nhttp://example.org/ <opentag/>\n")
    )
    assert one == other


def test_decisions_do_not_depend_on_earlier_mail() -> None:
    first = mail(CLASSIFIED, "X-GreenArrow-InstanceID: 1", "X-GreenArrow-MtaID: a")
    site = config(SITE)
    before = plan(first, site=site)
    for fields in ((CLASSIFIED, WRONG), ("X-GreenArrow-MailClass: crm", "X-GreenArrow-MtaID: b")):
        plan(mail(*fields), envelope("other@example.org", login="crm"), site)
    assert plan(first, site=site) == before
