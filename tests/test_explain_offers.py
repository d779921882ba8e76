"""`fletching explain`: for each setting, all offers in order, and which won."""

from __future__ import annotations

from fletching.admin.explain_offers import offers

from tests.setting import SITE, envelope, mail, plan

RULES = f"""\
{SITE}
header_aliases: {{X-List: list_id}}
default_mail_class: crm
rules:
  - {{name: priority, when: {{header: {{X-Priority: 1}}}}, set: {{mail_class: crm, list_id: one}}}}
  - {{set: {{list_id: "{{header.X-Segment}}", bounce_mailbox: b@example.com}}}}
"""


def line(start: str) -> str:
    """Where the configuration has the line that begins so."""
    lines = RULES.splitlines()
    (number,) = (n for n, each in enumerate(lines, 1) if each.strip().startswith(start))
    return f"fletching.yaml:{number}"


def rows(setting: str, *fields: str, sender: str = "app@example.com") -> list[tuple[object, ...]]:
    decided = plan(mail(*fields), envelope(login="shop", sender=sender), RULES)
    return [
        (each["source"], each["value"], each["place"], each["won"])
        for each in offers(decided)
        if each["setting"] == setting
    ]


def test_offers_are_listed_in_the_order_of_their_sources() -> None:
    fields = ("X-Priority: 1", "X-Segment: gold", "X-List: mine", "X-GreenArrow-ListID: theirs")
    second = line("- {set")
    assert rows("list_id", *fields) == [
        ("X-GreenArrow-ListID", "theirs", None, True),
        ("X-List", "mine", None, False),
        ("priority", "one", line("- {name: priority"), False),
        (f"rule 2 ({second})", "gold", second, False),
        ("class crm", "c1", line("crm: {list_id"), False),
    ]


def test_offers_of_the_mail_class_end_with_the_default() -> None:
    assert rows("mail_class", "X-Priority: 1") == [
        ("priority", "crm", line("- {name: priority"), True),
        ("users.shop.mail_class", "newsletter", line("shop:"), False),
        ("default_mail_class", "crm", line("default_mail_class"), False),
    ]


def test_offer_of_an_unknown_class_does_not_win() -> None:
    found = rows("mail_class", "X-GreenArrow-MailClass: unknown")
    assert [(source, won) for source, _value, _place, won in found] == [
        ("X-GreenArrow-MailClass", False),
        ("users.shop.mail_class", True),
        ("default_mail_class", False),
    ]


def test_built_in_value_has_the_place_default() -> None:
    assert rows("tracker_format") == [("global", "b", "default", True)]


def test_no_offer_wins_where_the_envelope_decides() -> None:
    assert {won for *_, won in rows("bounce_mailbox", sender="")} == {False}
    assert [won for *_, won in rows("bounce_mailbox")] == [True, False]


def test_offers_of_mail_without_a_class_are_listed() -> None:
    site = f"{SITE}\nrules: [{{name: one, set: {{list_id: a}}}}]\n"
    (row,) = [each for each in offers(plan(mail(), None, site)) if each["setting"] == "list_id"]
    assert (row["source"], row["value"]) == ("one", "a")


def test_offers_of_several_values_are_shown_in_words() -> None:
    asked = 'X-GreenArrow-DKIM: {"domain": "example.com", "allow_duplicate": true}'
    assert [row[1] for row in rows("dkim", asked)] == ["domain example.com, allow_duplicate yes"]
    assert [row[1] for row in rows("untracked_hosts")] == ["none"]
