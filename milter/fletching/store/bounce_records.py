"""What is known of the messages that came back: facts by campaign and message number.

Here the bounce records are read that `campaigns.py` writes with each number, many at once. How a
campaign and a number are found in a returned mail is not known here.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

from fletching.numbering import RECIPIENTS, SEED
from fletching.store import keys
from fletching.store.campaigns import RECORDS_PER_KEY
from fletching.store.connection import Store
from fletching.tokens import Facts, MessageKey


class BounceRecords:
    """The bounce records of a fleet. Any number of threads may use them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def facts(self, messages: Collection[MessageKey]) -> dict[MessageKey, Facts]:
        """The facts of messages, by message, in one round trip. Raises StoreUnavailable.

        A message whose campaign Redis no longer has is missing. Facts without a record (it has
        expired, or the mail had no VERP tag) name only campaign, number, class and InstanceID.
        """
        campaigns = sorted({campaign for campaign, _ in messages})
        heads, records = self._read(campaigns, messages)
        found = {}
        for (campaign, number), record in records.items():
            mail_class, instance_id = heads[campaign]
            if mail_class is not None:
                found[campaign, number] = _facts(campaign, number, mail_class, instance_id, record)
        return found

    def recipients(self, messages: Collection[MessageKey]) -> dict[MessageKey, frozenset[str]]:
        """The recipients of mails to several that may be named, in lower case; those of other
        mails are missing. Raises StoreUnavailable.
        """
        _, records = self._read((), messages)
        return {
            message: frozenset(record[RECIPIENTS].lower().split("\n"))
            for message, record in records.items()
            if record.get(RECIPIENTS)
        }

    def _read(
        self, campaigns: Sequence[str], messages: Collection[MessageKey]
    ) -> tuple[dict[str, Sequence[str]], dict[MessageKey, dict[str, str]]]:
        """Class and InstanceID of campaigns, and the records of messages, empty for none."""
        blocks = sorted({(campaign, number // RECORDS_PER_KEY) for campaign, number in messages})

        def ask(client: Any) -> list[Any]:
            pipeline = client.pipeline(transaction=False)
            for campaign in campaigns:
                pipeline.hmget(keys.campaign(campaign), "mail_class", "instance_id")
            for campaign, block in blocks:
                pipeline.lrange(f"{keys.bounces(campaign)}{block}", 0, -1)
            answers: list[Any] = pipeline.execute()
            return answers

        answers = self._store.ask(ask) if messages else []
        heads = dict(zip(campaigns, answers, strict=False))
        entries = dict(zip(blocks, answers[len(campaigns) :], strict=True))
        records = {
            (campaign, number): _record(entries[campaign, number // RECORDS_PER_KEY], number)
            for campaign, number in messages
        }
        return heads, records


def _record(entries: Sequence[str], number: int) -> dict[str, str]:
    """The record of a message in the list of its block; empty if there is none."""
    wanted = f"{number % RECORDS_PER_KEY} "
    found = next((entry for entry in entries if entry.startswith(wanted)), f"{wanted}{{}}")
    record: dict[str, str] = json.loads(found.removeprefix(wanted))
    return record


def _facts(
    campaign: str, number: int, mail_class: str, instance_id: str, record: dict[str, str]
) -> Facts:
    return Facts(
        campaign=campaign,
        number=number,
        mail_class=mail_class,
        instance_id=instance_id,
        listid=record.get("listid", ""),
        click_tracking_id=record.get("click_tracking_id", ""),
        email=record.get("email", ""),
        mtaid=record.get("mtaid", ""),
        sent=0,
        seed=SEED in record,
    )
