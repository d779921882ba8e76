"""The rules that only the DNS, or the tracking host, shows whether they are followed.

What breaks them is decided in `checks/sending.py`, which asks. docs/lint.md has the same table.
"""

from __future__ import annotations

from fletching.lint.rule import ERROR, INFO, WARNING, Rule
from fletching.lint.sources import (
    APPLE,
    GMAIL,
    GMX,
    LAPOSTE,
    MICROSOFT,
    WEBDE,
    YAHOO,
    rfc,
)

DNS_RULES = (
    Rule(
        "dns-no-answer",
        WARNING,
        "the name servers answer",
        "Try again; ask the name servers with dig(1)",
        (rfc(1035),),
    ),
    Rule(
        "dkim-key-missing",
        ERROR,
        "the key of each signature is in the DNS",
        "Publish what `fletching dkim record` prints",
        (GMX, GMAIL, MICROSOFT, rfc(6376)),
    ),
    Rule(
        "dkim-key-too-short",
        ERROR,
        "an RSA key has at least 1024 bits",
        "Make a new key with `fletching dkim new`",
        (GMAIL, rfc(8301)),
    ),
    Rule(
        "dkim-key-short",
        WARNING,
        "an RSA key has at least 2048 bits",
        "Make a new key with `fletching dkim new`",
        (GMAIL, rfc(8301)),
    ),
    Rule(
        "dmarc-missing",
        ERROR,
        "the From domain, or its organization, has a DMARC record",
        "Publish at least `v=DMARC1; p=none; rua=mailto:...` at _dmarc",
        (GMAIL, YAHOO, MICROSOFT, LAPOSTE),
    ),
    Rule(
        "dmarc-invalid",
        ERROR,
        "there is exactly one DMARC record, with a valid policy",
        "Correct the record at _dmarc",
        (rfc(9989), GMAIL, MICROSOFT),
    ),
    Rule(
        "dmarc-no-reports",
        INFO,
        "the DMARC record asks for reports",
        "Add rua=mailto:... and read the reports",
        (LAPOSTE, YAHOO),
    ),
    Rule(
        "dmarc-removed-tag",
        INFO,
        "the DMARC record has no tag that RFC 9989 removed",
        "Remove it",
        (rfc(9989),),
    ),
    Rule(
        "spf-missing",
        ERROR,
        "the return path's domain has an SPF record",
        "Publish `v=spf1 ip4:... -all` for the addresses of your VirtualMTAs",
        (GMAIL, YAHOO, MICROSOFT, APPLE, LAPOSTE),
    ),
    Rule(
        "spf-broken",
        ERROR,
        "the SPF record can be evaluated",
        "Correct the record: receivers count it as a failure",
        (LAPOSTE, MICROSOFT, rfc(7208)),
    ),
    Rule(
        "spf-not-passed",
        ERROR,
        "the SPF record allows each address that sends",
        "Add the address to the record",
        (LAPOSTE, GMAIL, MICROSOFT, rfc(7208)),
    ),
    Rule(
        "ptr-missing",
        ERROR,
        "each address that sends has a PTR record",
        "Have whoever owns the address set a PTR record",
        (GMAIL, GMX, WEBDE, LAPOSTE, APPLE),
    ),
    Rule(
        "ptr-not-confirmed",
        ERROR,
        "the PTR record's name has the address",
        "Add an address record to the name",
        (GMAIL, LAPOSTE),
    ),
    Rule(
        "ptr-generic",
        WARNING,
        "the PTR record is a name of yours, not a provider's default",
        "Have it set to a name in your domain",
        (WEBDE, GMX),
    ),
    Rule(
        "helo-not-confirmed",
        WARNING,
        "the EHLO name has the address",
        "Add an address record to the name, or change helo",
        (WEBDE, rfc(5321)),
    ),
    Rule(
        "from-domain-without-mail",
        ERROR,
        "the From domain can receive mail",
        "Publish an MX record: replies and complaints go there",
        (WEBDE, rfc(7505)),
    ),
    Rule(
        "address-not-seen",
        INFO,
        "the address of a VirtualMTA is the one that receivers see",
        "Check SPF and PTR of the address that they see: a relay's, or the public one",
        (rfc(1918),),
    ),
    Rule(
        "tracking-not-https",
        WARNING,
        "the tracking host uses https",
        "Set url_domain to https://...: one-click unsubscribe requires it",
        (rfc(8058),),
    ),
    Rule(
        "tracking-tls",
        ERROR,
        "the tracking host has a valid certificate",
        "Renew or correct the certificate of the web server in front of `fletching web`",
        (rfc(8058),),
    ),
    Rule(
        "tracking-tls-expires",
        WARNING,
        "the certificate of the tracking host is valid for two weeks",
        "See why it was not renewed",
        (rfc(8058),),
    ),
)
