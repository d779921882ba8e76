"""Table: what single mailbox providers say, in words or codes of their own.

Sources: the postmaster pages of the providers that are named; their replies as they are quoted in
returned mail, or commonly known; an entry without an address above it was not looked up.
`entries.py` says how an entry is written. These come before the general words.
"""

from __future__ import annotations

from fletching.returning.entries import Entry, entries
from fletching.returning.returned import Reason

PROVIDERS: tuple[Entry, ...] = (
    # Google: support.google.com/a/answer/3726730.
    *entries(
        Reason.RATE_LIMITED,
        "Gmail",
        """
        receiving mail at a rate that | receiving email at a rate that | relay limit exceeded |
        receiving mail too quickly | unusual rate of unsolicited |
        daily user sending limit exceeded | sending quota exceeded
        """,
    ),
    *entries(Reason.MAILBOX_FULL, "Gmail", "out of storage space | *p=overquota"),
    *entries(Reason.MAILBOX_DISABLED, "Gmail", "*p=disableduser | *p=inactiveuser"),
    *entries(
        Reason.AUTH_FAILURE,
        "Gmail",
        """
        *p=dmarcrejection | *p=unauthenticatedmessage |
        gmail requires all senders to authenticate
        """,
    ),
    *entries(
        Reason.PROTOCOL,
        "Gmail",
        """
        messages missing a valid messageid | messages missing a valid address in from |
        messages with multiple .. addresses in from | *p=rfcmessagenoncompliant
        """,
    ),
    *entries(
        Reason.BLOCKED,
        "Gmail",
        """
        low reputation of the sending | *p=ipauthblocked | *answer/188131 |
        not authorized to send email directly | ipv6 sending guidelines
        """,
    ),
    *entries(
        Reason.SPAM,
        "Gmail",
        """
        likely unsolicited mail | rejected due to spam classification
        """,
    ),
    *entries(
        Reason.POLICY,
        "Gmail",
        """
        its content presents a potential | *p=blockedmessage | sent over a tls connection
        """,
    ),
    *entries(Reason.RELAY_DENIED, "Gmail", "invalid credentials for relay"),
    *entries(Reason.SYSTEM, "Gmail", "multiple destination domains"),
    *entries(
        Reason.SENDER_REJECTED,
        "Gmail, Google Groups",
        """
        *p=customfromdenied | *groups.google.com/support/ | you may not have permission to post
        """,
    ),
    # Microsoft: learn.microsoft.com, "Email non-delivery reports"; Outlook.com postmaster page.
    *entries(
        Reason.USER_UNKNOWN,
        "Exchange, Microsoft 365",
        """
        resolver.adr.recipnotfound | resolver.adr.recipientnotfound |
        resolver.adr.exrecipnotfound | resolver.adr.invalidinsmtp | resolver.adr.badprimary |
        recipient not found by smtp address lookup |
        5.4.1 .. recipient address rejected access denied |
        unknown recipient or mailbox unavailable | recipient name is not recognized
        """,
    ),
    *entries(
        Reason.TOO_BIG,
        "Exchange",
        """
        resolver.rst.recipsizelimit | resolver.rst.sendsizelimit | sizelimit msg size exceeds
        """,
    ),
    *entries(
        Reason.RECIPIENT_FILTERED,
        "Exchange, Microsoft 365",
        """
        resolver.rst.notauthorized | resolver.rst.authrequired | resolver.rst.restricted |
        resolver.rst.sendernotauthenticated | delivery restriction check failed |
        not authorized to send to | only accepts messages from people in its organization
        """,
    ),
    *entries(
        Reason.MAILBOX_FULL,
        "Exchange, Microsoft 365",
        """
        storedrv .. mailboxfull | mapiexceptionshutoffquotaexceeded | quotaexceededexception
        """,
    ),
    *entries(
        Reason.MAILBOX_DISABLED,
        "Exchange, Microsoft 365",
        """
        storedrv .. mailboxdisabled
        """,
    ),
    *entries(
        Reason.SYSTEM,
        "Exchange, Microsoft 365",
        """
        storedrv .. corruptdata | storedrv .. mailbox server is offline
        """,
    ),
    *entries(
        Reason.POLICY,
        "Exchange, Microsoft 365",
        """
        transport.rules.rejectmessage | tenant allow block list
        """,
    ),
    *entries(Reason.SENDER_REJECTED, "Exchange", "permissions to send as this sender"),
    *entries(Reason.NETWORK, "Microsoft 365", "4.4.317 | 5.4.317"),
    *entries(Reason.EXPIRED, "Exchange, Microsoft 365", "queue.expired | 5.4.300 message expired"),
    *entries(Reason.DOMAIN_UNKNOWN, "Outlook.com", "domain is not reachable"),
    *entries(
        Reason.RATE_LIMITED,
        "Microsoft 365",
        """
        *s3114 | *s3115 | *s77714 | exceeded the connection limit |
        server busy .. please try again later from | tenant has exceeded threshold | rp 001 |
        rp 002 | rp 003 | message submission rate
        """,
    ),
    *entries(
        Reason.BLOCKED,
        "Outlook.com, Microsoft 365",
        """
        rate limited due to ip reputation | banned sending ip | banned sender |
        unfortunately messages from | part of their network is on our block list | *s3140 |
        *s3150 | oc 001 | sc 001 | sc 002 | sc 003 | sc 004 | dy 001 | dy 002 |
        *sender.office.com | *delist.protection.outlook.com | ou 001 | ou 002 |
        external client with ip address
        """,
    ),
    # Yahoo, AOL: senders.yahooinc.com/smtp-error-codes.
    *entries(
        Reason.BLOCKED,
        "Yahoo, AOL",
        """
        tss04 | tss05 | tss06 | tss07 | tss08 | tss09 | tss11 |
        deferred due to unexpected volume or user complaints | deferred due to user complaints |
        bl20 | bl21 | bl22 | bl23 | ts01 | ts02 | ts03 | permanently deferred | rtr bl | rly b1 |
        rly b2 | rly b3
        """,
    ),
    *entries(Reason.RATE_LIMITED, "Yahoo", "rl01 | rl02 | gl01"),
    *entries(Reason.SPAM, "AOL", "hvu b1 | hvu b2 | hvu b3 | hvu b4 | hvu b5"),
    *entries(Reason.BLOCKED, "AOL", "dyn t1 | con b1 | con b2 | con b3 | dns b1 | dns b2 | dns b3"),
    *entries(
        Reason.USER_UNKNOWN,
        "Yahoo",
        """
        this user doesnt have a .. account | this user does not have a .. account
        """,
    ),
    *entries(Reason.MAILBOX_DISABLED, "Yahoo", "disabled or discontinued"),
    # Apple: support.apple.com/HT204137.
    *entries(Reason.MOVED, "iCloud", "recipient no longer on server"),
    *entries(Reason.AUTH_FAILURE, "iCloud", "hme1"),
    *entries(Reason.SPAM, "iCloud", "cs01 | hm06 | hm07 | hm08"),
    *entries(Reason.BLOCKED, "iCloud, Proofpoint", "rejected due to listing in"),
    # Comcast: postmaster.comcast.net; Cox and Charter: their lists of error codes (Cloudmark).
    *entries(
        Reason.BLOCKED,
        "Comcast",
        """
        comcast block for spam | *#bl0000 | *#ptr0000
        """,
    ),
    *entries(Reason.RATE_LIMITED, "Comcast", "*#rl0000"),
    *entries(
        Reason.BLOCKED,
        "Spectrum, Verizon",
        """
        *amiblockedby | email from .. is currently blocked by
        """,
    ),
    *entries(
        Reason.RATE_LIMITED,
        "Cox, Spectrum",
        """
        *aup#in 13 | *aup#i 13 | *aup#13 | *aup#cxcnct | *aup#cxmxrt
        """,
    ),
    *entries(Reason.SENDER_REJECTED, "Cox", "*aup#cxsndr"),
    *entries(Reason.POLICY, "Cox", "*aup#cxthrt"),
    *entries(
        Reason.BLOCKED,
        "Cox, Spectrum",
        """
        *aup#cdrbl | *aup#cxbl | *aup#cxdns | *aup#ipbl | *aup#bl | *aup#poc | *aup#in 1 |
        *aup#i 1 | *aup#1
        """,
    ),
    # Orange, La Poste, SFR: codes with the same numbers; postmaster.orange.fr.
    *entries(Reason.USER_UNKNOWN, "Orange, La Poste", "ofr .. *_416 | lpn .. *_416"),
    *entries(Reason.MAILBOX_FULL, "Orange, La Poste", "ofr .. *_417 | lpn .. *_417"),
    *entries(
        Reason.MAILBOX_DISABLED,
        "Orange, La Poste",
        """
        ofr .. *_418 | ofr .. *_420 | ofr .. *_426 | lpn .. *_418 | lpn .. *_420 | lpn .. *_426
        """,
    ),
    *entries(
        Reason.SPAM,
        "Orange, La Poste",
        """
        ofr .. *_506 | ofr .. *_515 | lpn .. *_506 | lpn .. *_515
        """,
    ),
    *entries(Reason.RATE_LIMITED, "Orange, La Poste", "ofr .. *_104 | lpn .. *_104"),
    *entries(
        Reason.BLOCKED,
        "Orange, La Poste, Free",
        """
        service refuse | service refused please try later | too many spams from your ip |
        trop de spams
        """,
    ),
    # GMX, WEB.DE, 1&1: postmaster.gmx.com/en/error-messages; T-Online: postmaster.t-online.de.
    *entries(Reason.RATE_LIMITED, "GMX, WEB.DE", "*&c=rl | local rate limit | nemesis .. too many"),
    *entries(
        Reason.SENDER_REJECTED,
        "GMX, WEB.DE, IONOS",
        """
        invalid dns mx or a/aaaa resource record
        """,
    ),
    *entries(
        Reason.BLOCKED,
        "GMX, WEB.DE, IONOS",
        """
        bad dns ptr | *&c=rdns | *&c=bip | *&c=bl | *&c=hi | nemesis esmtp service not available |
        ask for a whitelist
        """,
    ),
    *entries(Reason.BLOCKED, "T-Online", "a problem occurred ask your postmaster"),
    *entries(Reason.AUTH_FAILURE, "Strato", "over foreign mailservers"),
    # GoDaddy: its help page "Fix rejected email with a bounce error".
    *entries(
        Reason.BLOCKED,
        "GoDaddy",
        """
        ib103 | ib104 | ib105 | ib106 | ib108 | ib110 | ib111 | ib112 | ib113 | ib114
        """,
    ),
    *entries(Reason.RATE_LIMITED, "GoDaddy", "ib007 | ib101 | ib605 | ib606 | ib607 | ib610"),
    *entries(
        Reason.SENDER_REJECTED,
        "GoDaddy",
        """
        ib501 | ib502 | ib504 | ib506 | ib507 | ib510
        """,
    ),
    *entries(Reason.AUTH_FAILURE, "GoDaddy", "ib508"),
    *entries(Reason.SPAM, "GoDaddy", "ib212 | ib705 | ib703"),
    # Tencent: service.mail.qq.com; NetEase: help.163.com (554 DT:SPM and its kin).
    *entries(
        Reason.RATE_LIMITED,
        "QQ Mail",
        """
        ip frequency limited | domain frequency limited | connection frequency limited |
        mailbox frequency limited
        """,
    ),
    *entries(
        Reason.SPAM,
        "QQ Mail, NetEase",
        """
        suspected bounce attacks | dt spm | hl ref | suspected spam ip
        """,
    ),
    *entries(Reason.AUTH_FAILURE, "NetEase", "mi spf"),
    *entries(Reason.USER_UNKNOWN, "QQ Mail", "may contain a non existent account"),
    *entries(
        Reason.BLOCKED,
        "NetEase",
        """
        ip rejected | ip in blacklist | mi idc | mi spb | mi con
        """,
    ),
    *entries(
        Reason.RATE_LIMITED,
        "NetEase",
        """
        rp trc | rp qrc | rp ctl | rp pds | rp mlt | rp tag | hl icc | hl ifc
        """,
    ),
    # Others.
    *entries(Reason.USER_UNKNOWN, "Yandex", "5.7.1 no such user $"),
    *entries(Reason.MAILBOX_DISABLED, "Mail.ru", "user is terminated | local mailbox .. disabled"),
    *entries(
        Reason.RECIPIENT_FILTERED,
        "Facebook",
        """
        rcp p2 | refused due to recipient preferences
        """,
    ),
    *entries(Reason.USER_UNKNOWN, "Facebook", "rcp p1"),
    *entries(Reason.MAILBOX_DISABLED, "Facebook", "rcp t4"),
    *entries(Reason.RATE_LIMITED, "Facebook", "con t1 | con t2 | con t3 | con t4"),
    *entries(Reason.SENDER_REJECTED, "Facebook", "dns p1 | dns p2"),
    *entries(
        Reason.BLOCKED,
        "Facebook",
        """
        dns p3 | pol p1 | pol p2 | pol p3 | pol p4 | pol t1 | pol t2 | pol t3
        """,
    ),
    *entries(Reason.VIRUS, "Facebook", "pol p5"),
    *entries(Reason.SPAM, "Facebook", "pol p6 | pol p7"),
    *entries(Reason.TOO_BIG, "Facebook", "msg p1 | int p2"),
    *entries(Reason.CONTENT, "Facebook", "msg p2"),
    *entries(Reason.PROTOCOL, "Facebook", "msg p3"),
    *entries(Reason.SYSTEM, "Facebook", "rcp t1 | int p1 | int p3 | int p4 | int t1 | int t2"),
    *entries(
        Reason.RATE_LIMITED,
        "Amazon SES",
        """
        throttling failure | daily message quota | daily sending quota | maximum sending rate
        """,
    ),
    *entries(
        Reason.SENDER_REJECTED,
        "Amazon SES, SendGrid",
        """
        email address is not verified | sending suspended for this account |
        sending paused for this account | verified sender identity
        """,
    ),
    *entries(Reason.POLICY, "Zoho", "unusual sending activity"),
    *entries(Reason.MAILBOX_DISABLED, "I.UA", "mailbox is frozen"),
    *entries(
        Reason.RECIPIENT_FILTERED,
        "au, docomo",
        """
        each of the following recipients was rejected by a remote mail server
        """,
    ),
    *entries(Reason.RECIPIENT_FILTERED, "au", "550 : user unknown"),
    *entries(Reason.USER_UNKNOWN, "Verizon", "no valid recipients for this mm"),
    *entries(Reason.OTHER, "Cloudflare", "upstream error please check"),
)
