"""Replies of mail servers, providers and filters, and the reason that each gives."""

from __future__ import annotations

from fletching.returning.classify import classify

from tests.cases import for_every

REPLIES = {
    # Providers.
    "Gmail, client must use a relay": (
        "550-5.7.1 The IP you're using to send mail is not authorized to send email directly",
        "blocked",
    ),
    "Gmail, relay limit": ("550 5.4.5 Daily SMTP relay limit exceeded for user", "rate_limited"),
    "Gmail, relay credentials": (
        "550-5.7.1 Invalid credentials for relay [192.0.2.1]",
        "relay_denied",
    ),
    "Gmail, no TLS": (
        "421 4.7.29 this message wasn't sent over a TLS connection",
        "policy",
    ),
    "Gmail, several domains": (
        "451 4.3.0 Multiple destination domains per transaction is unsupported",
        "system",
    ),
    "Microsoft, group takes authenticated mail only": (
        "550 5.7.133 RESOLVER.RST.SenderNotAuthenticatedForGroup; authentication required",
        "recipient_filtered",
    ),
    "Microsoft, transport rule": ("550 5.7.1 TRANSPORT.RULES.RejectMessage", "policy"),
    "Microsoft, send as": (
        "550 5.7.60 SMTP; Client does not have permissions to send as this sender",
        "sender_rejected",
    ),
    "Microsoft, expired": ("550 5.4.300 Message expired -> 451 4.4.0 DNS query failed", "expired"),
    "Microsoft, next hop needs TLS": (
        "450 4.4.317 Cannot connect to remote server [Message=451 5.7.3 STARTTLS is required]",
        "network",
    ),
    "Outlook.com, hourly limit": (
        "421 RP-001 Unfortunately, some messages from 192.0.2.1 weren't sent.",
        "rate_limited",
    ),
    "Outlook.com, listed": (
        "550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent. ... (S3150)",
        "blocked",
    ),
    "Yahoo, deferred": ("421 4.7.1 [RL01] Message temporarily deferred", "rate_limited"),
    "Yahoo, spam": ("554 5.7.1 Message blocked due to spam content in the message", "spam"),
    "iCloud, not authenticated": ("554 5.7.1 [HME1] This message was blocked", "auth_failure"),
    "iCloud, spam": ("550 5.7.1 [HM08] Message rejected due to local policy", "spam"),
    "iCloud, listed": (
        "550 5.7.1 Mail from IP 192.0.2.1 was rejected due to listing in Spamhaus SBL",
        "blocked",
    ),
    "Comcast, listed": (
        "554 mx.example comcast 192.0.2.1 Comcast block for spam. "
        "http://postmaster.comcast.net/smtp-error-codes.php#BL000000",
        "blocked",
    ),
    "Comcast, throttled": ("421 see smtp-error-codes.php#RL000003", "rate_limited"),
    "Cox, sender": ("550 5.1.0 <a@b.example> rejected. AUP#CXSNDR", "sender_rejected"),
    "Verizon, client": (
        "571 Email from 192.0.2.1 is currently blocked by Verizon Online's anti-spam system.",
        "blocked",
    ),
    "GMX, too many connections": (
        "421-gmx.net Nemesis ESMTP Service not available 421 Too many connections",
        "rate_limited",
    ),
    "GMX, sender's domain": (
        "550 invalid DNS MX or A/AAAA resource record",
        "sender_rejected",
    ),
    "T-Online, client": ("554 IP=192.0.2.1 - A problem occurred. Ask your postmaster", "blocked"),
    "NetEase, SPF": ("550 MI:SPF mx8", "auth_failure"),
    "Mail.ru, account": (
        "550 invalid mailbox. Local mailbox a@b.example is unavailable: user is terminated",
        "mailbox_disabled",
    ),
    "Yandex, unknown user with a code of policy": ("550 5.7.1 No such user!", "user_unknown"),
    "Facebook, client": ("554 5.1.8 POL-P2 http://a.example/", "blocked"),
    "Facebook, account": ("450 4.1.1 RCP-T4 http://a.example/", "mailbox_disabled"),
    "SES, quota of the sender": (
        "454 Throttling failure: Daily message quota exceeded.",
        "rate_limited",
    ),
    "SES, sender": ("554 Message rejected: Email address is not verified.", "sender_rejected"),
    # Mail servers and filters.
    "Postfix, table": ("451 4.3.0 <a@b.example>: Temporary lookup failure", "system"),
    "Postfix, pipelining": (
        "503 5.5.0 <DATA>: Data command rejected: Improper use of SMTP command pipelining",
        "protocol",
    ),
    "Postfix, too much mail": ("450 4.7.1 Error: too much mail from 192.0.2.1", "rate_limited"),
    "Exim, no host behind the MX": (
        "all relevant MX records point to non-existent hosts",
        "domain_unknown",
    ),
    "cPanel, sender": (
        "550-The account or domain may not exist 550 Sender verify failed",
        "sender_rejected",
    ),
    "Exim, loop": ("lowest numbered MX record points to local host", "network"),
    "Exim, unknown user": ("550 User <a@b.example> unknown", "user_unknown"),
    "Sendmail, no answer": ("451 4.4.1 reply: read error from mx.b.example.", "network"),
    "Sendmail, no address": ("550 5.1.2 Name server: b.example: no data known", "domain_unknown"),
    "qmail, line ends": ("451 See http://a.example/smtplf", "protocol"),
    "qmail, greeting": ("Connected to 192.0.2.2 but greeting failed.", "blocked"),
    "qmail, home directory": ("Uh-oh: home directory is writable. (#4.7.0)", "system"),
    "Courier, sender's domain": ("517-Domain does not exist: a.example.", "sender_rejected"),
    "OpenSMTPD, no source": ("Could not retrieve source address", "network"),
    "Haraka, unknown user": ("550 I cannot deliver mail for <a@b.example>", "user_unknown"),
    "Mimecast, SPF": ("550 SPF Sender Invalid - envelope rejected", "auth_failure"),
    "Mimecast, virus": ("554 Virus Signature Detected", "virus"),
    "Barracuda, spam": (
        "550 permanent failure for one or more recipients (a@b.example:blocked)",
        "spam",
    ),
    "Symantec, client": (
        "554 5.7.1 <a[192.0.2.1]>: Client host rejected: Symantec Global Bad Senders",
        "blocked",
    ),
    # Words of many.
    "terminated": ("550 Account terminated", "mailbox_disabled"),
    "not activated": ("554 mailbox is not activated yet", "mailbox_disabled"),
    "recipient's list": (
        "550 5.7.1 You are not on the recipient's whitelist",
        "recipient_filtered",
    ),
    "recipient's choice": (
        "550 5.7.1 The recipient has chosen not to accept mail from you",
        "recipient_filtered",
    ),
    "attachment": ('554 5.7.1 The attachment "x.exe" is of a forbidden type', "content"),
    "file extension": ("550 5.7.1 attachments with dangerous file extensions", "content"),
    "SPF": ("550 5.7.1 SPF unauthorized mail is prohibited.", "auth_failure"),
    "attempts": ("Delivery attempts exhausted", "expired"),
    "days": ("unable to deliver after 4 days", "expired"),
    "mailbox unknown": ("550 Mailbox is unknown or inactive", "user_unknown"),
    "no mailbox found": ("550 Unable to find mailbox for a@b.example", "user_unknown"),
    "user found nowhere": ("550 cannot find user joe", "user_unknown"),
    "address behind the mailbox": ("550 no mailbox a@b.example", "user_unknown"),
    "storage used up": ("554 user has used up the storage allotment", "mailbox_full"),
    "disk space limit": ("550 account has exceeded its disk space limit", "mailbox_full"),
    "too many mails, German": ("550 Benutzer hat zuviele Mails auf dem Server", "mailbox_full"),
    "locked": ("554 The account is temporarily locked", "mailbox_disabled"),
    "delivery disabled": ("550 User's mail delivery disabled", "mailbox_disabled"),
    "frozen": ("550 The recipient's account has been frozen", "mailbox_disabled"),
    "recipient's wish": ("550 5.7.1 recipient does not want mail from you", "recipient_filtered"),
    "recipient's filter": (
        "550 The user has set a filter that rejects your message",
        "recipient_filtered",
    ),
    "recipient's block": ("554 5.7.1 you are blocked by this user", "recipient_filtered"),
    "sender on a list": ("550 5.7.1 the sender is on our reject list", "sender_rejected"),
    "return path": ("553 invalid return path", "sender_rejected"),
    "connection": ("554 5.7.1 You are not allowed to connect", "blocked"),
    "HELO": ("550 HELO should be a FQDN", "blocked"),
    "quota of an hour": ("450 4.7.1 You have exceeded your hourly quota", "rate_limited"),
    "volume": ("450 4.7.1 Message volume too high", "rate_limited"),
    "bulk": ("554 rejected as bulk", "spam"),
    "virus": ("550 Message rejected: virus", "virus"),
    "archive": ("552 5.7.0 password-protected archive not allowed", "content"),
    "hosts failing": ("all hosts for b.example have been failing for a long time", "network"),
    "time in the queue": ("Message has been in queue for 3 days and will be deleted", "expired"),
    "days of trying": ("I have tried for 5 days to deliver this message", "expired"),
    "new address": ("551 5.1.6 User no longer here; new address a@b.example", "moved"),
    "no DNS entry": ("No DNS entry for the domain b.example", "domain_unknown"),
    "hosted elsewhere": ("550 that domain is not hosted here", "relay_denied"),
    "no open relay": ("550 5.7.1 This is not an open relay", "relay_denied"),
    "SPF of a client": (
        "550 SPF: 192.0.2.1 is not allowed to send mail from a.example",
        "auth_failure",
    ),
    "Sender ID": ("550 5.7.1 Sender ID (PRA) Not Permitted", "auth_failure"),
    "synchronization": ("554 SMTP synchronization error", "protocol"),
    "recipient, misspelled": ("554 The recipient address is wrong", "user_unknown"),
    "no free space": ("550 The user's inbox has no free space", "mailbox_full"),
    "receiving not allowed": ("550 user is not allowed to receive mail", "mailbox_disabled"),
    "sender on a blacklist": ("554 5.7.1 Sender blacklisted", "sender_rejected"),
    "forbidden file": ("554 5.7.1 forbidden file attached", "content"),
    "relay, British spelling": (
        "550 You are not authorised to relay through this server",
        "relay_denied",
    ),
    "days in the queue": ("message was in the queue for more than 5 days", "expired"),
}


@for_every(REPLIES)
def test_reply_gives_a_reason(text: str, reason: str) -> None:
    assert classify("", 0, text).reason == reason
