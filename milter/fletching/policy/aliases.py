"""Aliases: headers of other systems that set a control (option `header_aliases`).

Here is how they are read from a mail. What a control may be set to is in `grammar.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

from fletching.config.steering import Alias
from fletching.mail.message import Message
from fletching.policy import grammar
from fletching.policy.grammar import CONTROLS, InvalidError
from fletching.policy.offers import Asked, InvalidValue, Offer, Offers, Setting, SourceKind


def read(message: Message, aliases: Mapping[str, Alias]) -> Asked:
    """What the aliases in a mail ask for. Of two that set one control, the first one in the
    configuration that is in the mail counts, even if its value is invalid.
    """
    offers: dict[Setting[object], Offer[object]] = {}
    invalid: list[InvalidValue] = []
    remove: set[int] = set()
    taken: set[str] = set()
    for name, alias in aliases.items():
        fields = message.all(name.lower().encode("ascii"))
        if not fields:
            continue
        if alias.remove:
            remove.update(each.position for each in fields if each.position is not None)
        if alias.control in taken:
            continue
        taken.add(alias.control)
        control = CONTROLS[alias.control]
        try:
            offers |= control.offer(grammar.single({each.text for each in fields}), name)
        except InvalidError as error:
            invalid.append(control.invalid(SourceKind.ALIAS, name, error))
    return Asked(Offers(SourceKind.ALIAS, offers), tuple(invalid), frozenset(remove))
