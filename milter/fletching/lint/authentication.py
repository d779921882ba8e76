"""Rules about signatures and the return path: are they there, and of the domain in From?

Whether a signature verifies, and what the DNS says of organizations, is passed in.
"""

from __future__ import annotations

from collections.abc import Iterator

from fletching.lint.rule import Finding
from fletching.lint.rules import found
from fletching.lint.sent import Sent, short


def judge_authentication(sent: Sent) -> Iterator[Finding]:
    """All findings about signatures and the return path."""
    yield from _signatures(sent)
    author, path = sent.author, sent.return_path_domain
    if author is not None and path and not sent.alignment.spf(path, author):
        text = f"the return path is in {short(path)}, From in {short(author)}: SPF does not count"
        yield found("return-path-not-aligned", text)


def _signatures(sent: Sent) -> Iterator[Finding]:
    if not sent.signatures:
        if sent.signed_later:
            yield found("dkim-elsewhere", "dkim.enabled is off: another program signs")
        else:
            yield found("dkim-missing", sent.why("no DKIM signature"))
        return
    for each in sent.signatures:
        whose = f"the signature of {short(each.domain) or 'an unknown domain'}"
        if each.objection is None:
            yield found("dkim-not-verified", f"{whose} was not verified")
        elif each.objection:
            yield found("dkim-invalid", f"{whose} does not verify: {short(each.objection)}")
        if each.algorithm == "rsa-sha1":
            yield found("dkim-sha1", f"{whose} uses rsa-sha1")
        if each.limited:
            yield found("dkim-body-length", f"{whose} has l=")
    author = sent.author
    if author is not None and not sent.aligned():
        domains = dict.fromkeys(each.domain for each in sent.signatures if each.usable)
        signers = short(", ".join(domains)) or "no domain"
        yield found("dkim-not-aligned", f"From is in {short(author)}, signed by {signers}")
