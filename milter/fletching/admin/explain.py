"""The output of `fletching explain`: every decision, link and edit with its reason.

As an object for scripts, and as tables. Nothing is decided here: it reports what `outgoing/flow.py`
decided. If that did not need to read the body, the links are searched here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fletching.admin import link_selectors
from fletching.admin.dkim_verify import NOT_TRIED, objection
from fletching.admin.escapes import printable
from fletching.admin.explain_offers import offers
from fletching.admin.lint import counts, linted
from fletching.admin.preview import as_json, readable
from fletching.keys.dkim_keys import dkim_record
from fletching.links.splices import LinkNote
from fletching.mail.dkim import Signature
from fletching.mail.envelope import Envelope
from fletching.mail.message import Message
from fletching.outgoing import rewrite
from fletching.outgoing.flow import Outcome
from fletching.outgoing.rewrite import PartNote
from fletching.outgoing.text_parts import TextPartCache
from fletching.outgoing.tracking_urls import MessageUrls
from fletching.policy.setup import Setup

_LONGEST_CELL = 160
_SHADOW = "shadow: nothing of this is applied; `fletching preview` shows what leaves"
_NOWHERE = MessageUrls(lambda _kind, _to: ("", ""), lambda _purpose: "")


def explained(
    outcome: Outcome, message: Message, envelope: Envelope, setup: Setup
) -> dict[str, Any]:
    """The object of `fletching explain --json`: that of `preview`, with reasons.

    For a mail in shadow: what would happen if it were live.
    """
    outcome = outcome.would or outcome
    explanation = as_json(outcome, envelope)
    del explanation["message"]
    notes = _notes(outcome, message)
    explanation["warnings"] += link_selectors.warnings(message, notes, outcome.plan.tracking)
    return explanation | {
        "trusted": outcome.plan.trusted,
        "decisions": [
            {"setting": each.setting, "value": each.text, "source": each.source}
            for each in outcome.plan.decisions
        ],
        "offers": offers(outcome.plan),
        "removed": [
            readable(header.name)
            for header in message.headers
            if header.position in outcome.plan.remove
        ],
        "signatures": [
            {
                "domain": each.domain,
                "selector": each.selector,
                "verified": None if why == NOT_TRIED else not why,
                "reason": why or None,
            }
            for each, why in _verified(outcome)
        ],
        "lint": _lint(outcome, message, envelope, setup),
        "parts": [
            {
                "content_type": note.content_type,
                "left_alone": note.not_rewritten or None,
                "links": [
                    {"url": link.url, "rewritten": link.rewritten, "reason": link.reason}
                    for link in note.links
                ],
            }
            for note in notes
        ],
    }


def _lint(
    outcome: Outcome, message: Message, envelope: Envelope, setup: Setup
) -> dict[str, int] | None:
    if outcome.refusal is not None or outcome.plan.discarded is not None:
        return None
    return counts(linted(outcome, message, envelope, setup).findings)


def _verified(outcome: Outcome) -> list[tuple[Signature, str]]:
    """The signatures that were made, each with the verifier's objection."""
    signatures = () if outcome.refusal else outcome.plan.signatures
    content = bytes(outcome.final) if signatures else b""
    return [
        (each, objection(content, index, dkim_record(each.key).encode()))
        for index, each in enumerate(signatures)
    ]


def _notes(outcome: Outcome, message: Message) -> tuple[PartNote, ...]:
    """Notes on each part, also of a body that was not read: why each link is not rewritten."""
    plan = outcome.plan
    if outcome.refusal is not None or plan.mail_class is None or plan.tracking.body:
        return outcome.notes
    body = len(message.body)
    with_body = replace(plan.tracking, body=True, clicks=True, opens=False, largest=body)
    notes = rewrite.rewrite(message, with_body, _NOWHERE, TextPartCache()).notes
    return tuple(replace(note, links=tuple(map(_stays, note.links))) for note in notes)


def _stays(link: LinkNote) -> LinkNote:
    return link._replace(rewritten=False, reason="body not rewritten") if link.rewritten else link


def show(explanation: dict[str, Any], console: Console) -> None:
    """Prints the object of `explained`."""
    _print(console, _verdict(explanation))
    if "mode" in explanation:
        _print(console, _SHADOW)
    for warning in explanation["warnings"]:
        _print(console, f"warning: {warning}")
    _table(
        console,
        "Decisions",
        ("setting", "value", "source"),
        [[row["setting"], row["value"], row["source"]] for row in explanation["decisions"]],
    )
    if explanation["offers"]:
        _table(
            console,
            "Offers, the strongest first",
            ("setting", "won", "source", "place", "value"),
            [
                [row["setting"], row["won"], row["source"], row["place"] or "", row["value"]]
                for row in explanation["offers"]
            ],
        )
    for part in explanation["parts"]:
        _table(
            console,
            _part(part),
            ("rewritten", "reason", "link"),
            [[link["rewritten"], link["reason"], link["url"]] for link in part["links"]],
        )
    if explanation["reply"] is not None:
        return
    for each in explanation["signatures"]:
        verdict = "verifies" if each["verified"] else f"does not verify: {each['reason']}"
        if each["verified"] is None:
            verdict = each["reason"]
        _print(console, f"DKIM signature {each['selector']} of {each['domain']}: {verdict}")
    if (lint := explanation["lint"]) is not None:
        text = f"errors: {lint['errors']}, warnings: {lint['warnings']} (run fletching lint)"
        _print(console, f"Demands of mailbox providers: {text}")
    _table(
        console,
        "Edits, in the order sent to Postfix",
        ("edit", "field", "new value"),
        [_edit_row(edit) for edit in explanation["edits"]],
    )


def _verdict(outcome: dict[str, Any]) -> str:
    if outcome["reply"] is not None:
        return f"{outcome['verdict']}: {outcome['reply']}"
    if not outcome["edits"]:
        return "accept: no changes"
    if outcome["edits"][0]["edit"] == "discard":
        return "accept: discarded, nobody gets it"
    if not outcome["trusted"]:
        return (
            "accept: the client is not trusted; control headers are removed, nothing else changes"
        )
    if outcome["mail_class"] is None and outcome["virtual_mta"]:
        return f"accept: already processed; routed to {outcome['virtual_mta']} again"
    if outcome["mail_class"] is None:
        return "accept: no Mail Class"
    way = f"routed to {outcome['virtual_mta']}" if outcome["virtual_mta"] else "routed by Postfix"
    number = f"message {outcome['message_number']} of campaign {outcome['campaign']}"
    return f"accept: {outcome['sendid']}, {number}, {way}"


def _part(part: dict[str, Any]) -> str:
    name, links = part["content_type"], part["links"]
    if part["left_alone"] is not None:
        # The message as a whole is not a content type.
        return f"{name.capitalize() if name == 'message' else name}: {part['left_alone']}"
    if not links:
        return f"{name}: no links"
    return f"{name}: {sum(link['rewritten'] for link in links)} of {len(links)} links rewritten"


def _edit_row(edit: dict[str, Any]) -> list[object]:
    """The edit, the field (with its index if there are several), and the new value."""
    name = edit.get("name", "")
    if edit.get("index", 1) > 1:
        name += f" ({edit['index']})"
    became = edit.get("value", edit.get("address", edit.get("reason", "")))
    if edit["edit"] == "replace_body":
        became = f"{edit['octets']} bytes"
    return [edit["edit"].replace("_", " "), name, became]


def _table(
    console: Console, title: str, columns: tuple[str, ...], rows: list[list[object]]
) -> None:
    _print(console, "")
    _print(console, title)
    if not rows:
        return
    table = Table(box=box.SIMPLE, show_edge=False, pad_edge=False)
    for column in columns[:-1]:
        table.add_column(column)
    table.add_column(columns[-1], overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row))
    console.print(table)


def _print(console: Console, text: str) -> None:
    console.print(Text(_cell(text)), soft_wrap=True)


def _cell(value: object) -> str:
    """A value on one line, with control characters escaped."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = printable(" ".join(str(value).split()), "utf-8")
    if len(text) > _LONGEST_CELL:
        text = text[: _LONGEST_CELL - 3] + "..."
    return text
