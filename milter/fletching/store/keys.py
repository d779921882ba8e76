"""The name of every key that Fletching has in Redis. Each is spelled here and nowhere else.

Here live names only: no command, no connection. A script receives its keys as KEYS. Where a script
makes many keys of one kind (bounce records, bits), it receives what their names begin with, also as
one of KEYS, and appends a number; the function here says which one.

In a Redis Cluster, keys with the same text in braces are in one slot, so that one script can use
them together. Every key begins with `PREFIX`: the access rule `~fletching:*` covers all of them
(docs/redis.md).

    of a campaign, tag {<id>}          type        written by          ends
    fletching:sendid:{<SendID>}        string      campaigns           with the campaign window
    fletching:campaign:{<id>}          hash        campaigns           window + bounces + retention
    fletching:bounces:{<id>}:<block>   list        campaigns           with the bounce memory
    fletching:counts:{<id>}            hash        counting, sent      with the campaign
    fletching:steps:{<id>}             hash        counting, sent      with the campaign
    fletching:links:{<id>}             hash        counting            with the campaign
    fletching:providers:{<id>}         hash        counting            with the campaign
    fletching:reasons:{<id>}           hash        counting            with the campaign
    fletching:counted:{<id>}           hash        counting, sent      with the campaign
    fletching:seen:{<id>}:<kind>:...   string      counting            with the campaign
    fletching:claims:{<id>}            hash        bounce_claims       with the bounce memory
    fletching:warnings:{<id>}          hash        warnings            with the campaign
    fletching:placements:{<id>}        hash        placements          with the campaign
    fletching:trace:{<id>}:<block>     list        tracing             with the trace memory
    fletching:seeds:{<id>}             hash        seeds               with the campaign
    fletching:seedcontents:{<id>}:...  string      seeds               with the copies, or 5 days

    of the fleet
    fletching:campaigns                sorted set  campaigns           never; entries are removed
    fletching:events                   stream      events              never; `trim` removes entries
    fletching:journals:{frw}           hash        events              never; `trim` removes fields
    fletching:reported:{frw}           hash        bad_addresses       never
    fletching:dead:<destination>       stream      events              never; about 100,000 entries
    fletching:failures:{bad}:...       hash        bad_addresses       with `bounces.within`
    fletching:due:{bad}                hash        bad_addresses       never; entries are removed
    fletching:seeding                  sorted set  seeds               never; entries are removed
    fletching:suppression              set         suppression         never
    fletching:suppressed:<ListID>      hash        suppression         never
    fletching:touches:{t}:<message>    string      touches             75 seconds after the last one
    fletching:tracenames:{<n>}:<day>   list        tracing             day + trace memory
    fletching:tracetexts:{<day>}       hash        trace_texts         day + trace memory
    fletching:used:{<VirtualMTA>}:...  hash        limits              an hour, or 35 days later
    fletching:clock                    hash        clock               never
    fletching:monitored                sorted set  placements          never; entries are removed
    fletching:shadow:<hour>            hash        shadow              31 days after the last mail
    fletching:warned:{<hour>}          hash        warned              26 hours later
    fletching:hosts                    hash        hosts               never; fields are removed
    fletching:lease:<name>             string      lease               10 seconds after a renewal
    fletching:check:{<random>}:...     all types   trial               at once, or after a minute

The tag of a SendID is the SendID, in lower case: it leads to a campaign and shares no slot with it.
The tag {frw} has no meaning; its slot is that of `fletching:events`. {bad} is one slot for all
lists, so that the failures of many addresses are counted in one step.
"""

from __future__ import annotations

from urllib.parse import quote

PREFIX = "fletching:"
"""What every key begins with."""

CAMPAIGNS = "fletching:campaigns"
"""Campaign id -> unix seconds of its first message."""

EVENTS = "fletching:events"
"""Entries have `event`, JSON, and `position`, one more than that of the entry before. A destination
is a consumer group, under its name."""

JOURNALS = "fletching:journals:{frw}"
"""Journal -> sequence number of its last event in the stream."""

REPORTED = "fletching:reported:{frw}"
"""List and address, as `of_address` names them -> unix milliseconds of the bounce for which it has
its `bounce_bad_address`."""

FAILURES = "fletching:failures:{bad}:"
"""What the keys of addresses begin with that have failed; `of_address` follows. Such a hash has
`h:` or `s:`, campaign, `:`, message number -> unix milliseconds of a hard or soft bounce, and
`delivered` -> unix milliseconds of the last delivery."""

DUE = "fletching:due:{bad}"
"""Addresses whose `bounce_bad_address` is still to be made, as `of_address` names them -> unix
milliseconds, a space, the event as JSON."""

SEEDING = "fletching:seeding"
"""Campaigns that may have pending seed copies -> unix milliseconds of the last claim."""

SUPPRESSION = "fletching:suppression"
"""The ListIDs that have entries, in lower case."""

CLOCK = "fletching:clock"
"""`seen`: when a courier last read the clock. `jumps`: its jumps, from:to. Unix milliseconds."""

MONITORED = "fletching:monitored"
"""Campaigns whose seed copies are looked for -> unix seconds of the last time they were sent."""

HOSTS = "fletching:hosts"
"""Host -> its last report as JSON, as in `store/hosts.py`."""

_CAMPAIGN = "fletching:campaign:"
_TRACE = "fletching:trace:"
_TRACE_TEXTS = "fletching:tracetexts:"


def sendid(name: str) -> str:
    """The id of the SendID's open campaign. ``name``: in lower case."""
    return f"fletching:sendid:{{{name}}}"


def campaign(id: str) -> str:
    """`sendid`, `mail_class`, `instance_id`, `monitor`; `opened`, unix seconds; `subject` and
    `listid` of its first message; `number`, the last one given; `at`, unix seconds of it; `run` of
    the Redis that gave it."""
    return f"{_CAMPAIGN}{{{id}}}"


def is_derived(key: str) -> bool:
    """Whether a target is a campaign's counters or traces, which are made from events only."""
    return key.startswith((_CAMPAIGN, _TRACE, _TRACE_TEXTS))


def bounces(id: str) -> str:
    """What the keys of a campaign's bounce records begin with; a block number follows.

    Entries: the message number within the block, a space, the record as JSON.
    """
    return f"fletching:bounces:{{{id}}}:"


def counts(id: str) -> str:
    """kind|hour|VirtualMTA|list -> count. Names are percent-encoded; the hour is unix seconds over
    3600."""
    return f"fletching:counts:{{{id}}}"


def steps(id: str) -> str:
    """kind|step -> count, in the first 24 hours of a campaign. A step has ten minutes; its number
    is unix seconds over 600."""
    return f"fletching:steps:{{{id}}}"


def links(id: str) -> str:
    """Digest of a link -> URL; digest|kind -> count."""
    return f"fletching:links:{{{id}}}"


def providers(id: str) -> str:
    """kind|provider -> count."""
    return f"fletching:providers:{{{id}}}"


def reasons(id: str) -> str:
    """Digest of a server's words -> reason, a space, the words; digest|kind|provider -> count;
    `groups` -> how many digests there are. Words of a reason that found no room have the reason in
    place of a digest."""
    return f"fletching:reasons:{{{id}}}"


def counted(id: str) -> str:
    """Journal -> sequence number of its last event that is counted; and for sent mail, name of a
    process's count -> how many of it are counted."""
    return f"fletching:counted:{{{id}}}"


def seen(id: str) -> str:
    """What the keys of a campaign's bits begin with, by which unique opens and clicks are known.

    Then follow kind and number // 65536, or kind, digest of a link and number // 4096.
    """
    return f"fletching:seen:{{{id}}}:"


def claims(id: str) -> str:
    """Message number, a space, a failure -> the report that told of it first: `log` or `mail`."""
    return f"fletching:claims:{{{id}}}"


def warnings(id: str) -> str:
    """Warning -> mails that had it."""
    return f"fletching:warnings:{{{id}}}"


def warned(hour: int) -> str:
    """`n:` and a kind of warning -> mails of that hour (unix seconds over 3600) that had it; `e:`
    and the kind -> an example as JSON, as in `store/warned.py`."""
    return f"fletching:warned:{{{hour}}}"


def seeds(id: str) -> str:
    """Address of a claimed seed -> its state as JSON, as in `store/seeds.py`."""
    return f"fletching:seeds:{{{id}}}"


def seed_contents(id: str) -> str:
    """What the keys begin with of the mail that is copied to seeds; its message number follows.

    The content is encrypted with the link keys.
    """
    return f"fletching:seedcontents:{{{id}}}:"


def placements(id: str) -> str:
    """Address of a seed -> its placement as JSON, as in `placements.py`."""
    return f"fletching:placements:{{{id}}}"


def trace(id: str) -> str:
    """What the keys of a campaign's traces begin with; a block number follows (`traces.PER_BLOCK`).

    Entries are lines as in `traces.py`.
    """
    return f"{_TRACE}{{{id}}}:"


def trace_names(index: int, day: int) -> str:
    """One of the lists by which messages are found whose mails were accepted on a day.

    Entries: as in `store/write_traces.py`.
    """
    return f"fletching:tracenames:{{{index}}}:{day}"


def trace_texts(day: int) -> str:
    """Reference -> text that many lines of a day have in common."""
    return f"{_TRACE_TEXTS}{{{day}}}"


def dead(destination: str) -> str:
    """Dead letters: `id` in `EVENTS`, `event` as JSON, `why`."""
    return f"fletching:dead:{destination}"


def suppressed(listid: str) -> str:
    """Address -> unix milliseconds, reason, source, with spaces between. ``listid``: in lower
    case."""
    return f"fletching:suppressed:{quote(listid, safe='')}"


def of_address(listid: str, address: str) -> str:
    """List and address as they are named in `REPORTED`, `FAILURES` and `DUE`."""
    return f"{quote(listid.lower(), safe='')}|{quote(address.lower(), safe='@')}"


def used(virtual_mta: str) -> str:
    """What the keys of a VirtualMTA's windows begin with; the label of a window follows, such as
    `hour-490000` (unix seconds over 3600) or `day-2026-12-01`.

    Provider -> recipients; `*` -> all of them. One tag for each VirtualMTA.
    """
    return f"fletching:used:{{{quote(virtual_mta.lower(), safe='')}}}:"


def touches(message: str) -> str:
    """Lines of text, the latest last. One tag for all, so that many are read at once."""
    return f"fletching:touches:{{t}}:{message}"


def shadow(hour: int) -> str:
    """Counts of mail in shadow in an hour (unix seconds over 3600): class|topic|name -> count;
    |writer|process -> number of its last batch."""
    return f"fletching:shadow:{hour}"


def lease(name: str) -> str:
    """The holder's name."""
    return f"fletching:lease:{name}"


def trial(random: str) -> str:
    """What the keys begin with that `fletching check` makes and deletes, all in one slot."""
    return f"fletching:check:{{{random}}}:"
