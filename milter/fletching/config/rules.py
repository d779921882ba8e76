"""The options of rules: which mail a rule matches, what it sets, and what it does to the mail.

Declared as in `model.py`. `policy/rules/` matches a mail against them. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import Field, model_validator

from fletching.config.fields import Switch
from fletching.config.rule_fields import (
    Addresses,
    AddressTemplate,
    ClassTemplate,
    Clients,
    FieldTemplates,
    FieldTests,
    Files,
    FormatTemplate,
    IdTemplate,
    InstanceTemplate,
    ListTemplate,
    MtaTemplate,
    RemovedFields,
    Reply,
    RuleName,
    Sizes,
    SwitchTemplate,
    Texts,
    UrlDomainTemplate,
    UrlTemplate,
    Yes,
)
from fletching.config.sections import Options, lack

Place = tuple[str | int, ...]


class When(Options):
    """Tests of a mail, all of which must hold. Of a list of values, one must match.

    A value is compared as a whole, without regard to case; `*` and `?` are wildcards, and
    `/.../` is a regular expression of RE2 that may match anywhere.
    """

    header: FieldTests | None = None
    """Header fields: `true` if there is one of that name, `false` if there is none, else what the
    value of any of them must be, unfolded and decoded (RFC 2047)."""
    sender: Texts | None = None
    """The envelope sender; `<>` is the null sender."""
    from_: Texts | None = Field(None, alias="from")
    """An address in From."""
    recipient: Texts | None = None
    """The address of every recipient."""
    recipient_domain: Texts | None = None
    """The domain of every recipient."""
    recipient_in: Files | None = None
    """A file with an address or a domain on each line, among which every recipient, or its domain,
    must be. It is read at the start and on SIGHUP."""
    provider: Texts | None = None
    """The mailbox provider of every recipient (`providers`); `other` is none in the table."""
    login: Texts | None = None
    """The SMTP AUTH login."""
    client: Clients | None = None
    """The address of the client."""
    size: Sizes | None = None
    """The size of the mail in bytes."""
    not_: When | None = Field(None, alias="not")
    """Tests that must not all hold."""
    any: tuple[When, ...] | None = None
    """Several groups of tests, of which one must hold."""

    @property
    def is_empty(self) -> bool:
        """Whether it matches all mail."""
        return not self.model_fields_set

    def files(self, place: Place) -> Iterator[tuple[Place, Path]]:
        """The files of `recipient_in`, each with the place of its option below ``place``."""
        for path in self.recipient_in or ():
            yield (*place, "recipient_in"), path
        if self.not_ is not None:
            yield from self.not_.files((*place, "not"))
        for number, each in enumerate(self.any or ()):
            yield from each.files((*place, "any", number))

    @property
    def tests_size(self) -> bool:
        """Whether the size of the mail matters."""
        return self.size is not None or any(each.tests_size for each in self._inner)

    @property
    def _inner(self) -> tuple[When, ...]:
        return (*(self.any or ()), *(() if self.not_ is None else (self.not_,)))

    @model_validator(mode="after")
    def _has_tests(self) -> When:
        if self.header is not None and not self.header:
            raise lack("header must name at least one header field")
        if self.any is not None and not self.any:
            raise lack("any must have at least one group of tests")
        if any(each.is_empty for each in self._inner):
            raise lack("not and any must have tests")
        return self


class RuleControls(Options):
    """What the mail is steered by, as by a control header, which wins over it.

    A value may contain `{header.NAME}`, `{sender}`, `{sender_domain}`, `{recipient}`,
    `{recipient_domain}` and `{login}`, and is checked as that of the control header.
    """

    mail_class: ClassTemplate | None = None
    """The Mail Class."""
    instance_id: InstanceTemplate | None = None
    """The InstanceID."""
    list_id: ListTemplate | None = None
    """The ListID."""
    virtual_mta: MtaTemplate | None = None
    """The VirtualMTA."""
    bounce_mailbox: AddressTemplate | None = None
    """The bounce mailbox."""
    click_tracking: SwitchTemplate | None = None
    """Switch click and open tracking on or off."""
    click_tracking_id: IdTemplate | None = None
    """The Click-Tracking-ID."""
    url_domain: UrlDomainTemplate | None = None
    """The scheme and host of tracking links."""
    tracker_format: FormatTemplate | None = None
    """The format of tracking URLs."""
    list_unsubscribe_url: UrlTemplate | None = None
    """The URL of List-Unsubscribe."""
    seed: SwitchTemplate | None = None
    """Switch seeding on or off."""

    @property
    def given(self) -> Mapping[str, str]:
        """The values that are set, by the name of their control."""
        return {name: getattr(self, name) for name in sorted(self.model_fields_set)}


class Do(Options):
    """What is done to the mail, besides what it is steered by.

    `reject` and `discard` stand alone.
    """

    reject: Reply | None = None
    """Refuse the mail: reply 550 5.7.1 with this text."""
    hold: Reply | None = None
    """Put the mail into Postfix's hold queue, for this reason."""
    discard: Yes | None = None
    """Accept the mail, and deliver it to nobody."""
    redirect: Addresses | None = None
    """Replace the recipients by these."""
    bcc: Addresses | None = None
    """Add recipients to the envelope."""
    add_headers: FieldTemplates | None = None
    """Add header fields; one that the mail has stays. The values may contain placeholders, as
    those of `set`."""
    remove_headers: RemovedFields | None = None
    """Remove all header fields of these names."""

    @model_validator(mode="after")
    def _fit(self) -> Do:
        given = self.model_fields_set
        if not given:
            raise lack("do must have an action")
        for alone in ("reject", "discard"):
            if alone in given and len(given) > 1:
                raise ValueError(f"must not have another action beside {alone}")
        return self


class Rule(Options):
    """A rule: if the tests of `when` hold, `set` steers the mail, and `do` acts on it.

    For each setting, the first matching rule that sets it wins. Every `do` of every matching rule
    is carried out.
    """

    name: RuleName | None = None
    """What logs and `fletching explain` call the rule; default: its number and line."""
    when: When | None = None
    """Which mail the rule matches; default: all."""
    set: RuleControls | None = None
    """What the mail is steered by."""
    do: Do | None = None
    """What is done to the mail."""
    last: Switch = False
    """Ignore the rules below for mail that this one matches."""

    def files(self, place: Place) -> Iterator[tuple[Place, Path]]:
        """The files of `recipient_in`, each with the place of its option."""
        return iter(()) if self.when is None else self.when.files((*place, "when"))

    @property
    def needs_body(self) -> bool:
        """Whether the body matters: the rule sets the Mail Class, or tests the size."""
        return (self.set is not None and self.set.mail_class is not None) or (
            self.when is not None and self.when.tests_size
        )

    @model_validator(mode="after")
    def _does_something(self) -> Rule:
        if not (self.set and self.set.model_fields_set) and self.do is None and not self.last:
            raise lack("must have set, do or last")
        return self
