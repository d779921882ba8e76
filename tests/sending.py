"""Messages that get their numbers and are taken by Postfix, without a mail."""

from __future__ import annotations

from fletching.numbering import Question
from fletching.store.campaigns import Campaigns
from fletching.store.sent import Sent
from fletching.tokens import Facts

from sandbox.processes import wait_until


def send(
    campaigns: Campaigns, sent: Sent, question: Question, mtaid: str = "", count: int = 1
) -> None:
    """So many messages that ask the same; they are counted when it returns."""
    for _ in range(count):
        numbered = campaigns.campaign_of(question)
        assert numbered is not None
        sent.add(
            Facts(
                campaign=numbered.campaign,
                number=numbered.number,
                mail_class=question.mail_class,
                instance_id=question.instance_id,
                listid=question.listid,
                click_tracking_id="",
                email="".join(question.recipients),
                mtaid=mtaid,
                sent=question.now,
            )
        )
    wait_until("what was sent is not counted", lambda: not sent.write())
