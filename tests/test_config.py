"""The configuration: what a file means, and what is told of a broken one.

The zoo of broken files is `badconfig/`: NNN-what.yaml, what is told of it in NNN-what.error. A line
`# right: ...` in one is what the line below it should have been: with it, the file must load.
"""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml
from fletching.config.consistency import doubts
from fletching.config.load import ConfigError, load, parse
from fletching.config.model import Config
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.cases import for_every

ZOO = Path(__file__).parent / "badconfig"
BROKEN = {file.stem: file for file in sorted(ZOO.glob("[0-9]*.yaml"))}
FILE = Path("/etc/fletching/fletching.yaml")

# The example of the contract, and the class that its user crm names.
EXAMPLE = """\
listen: unix:/run/fletching/milter.sock   # or inet:8899@127.0.0.1
workers: auto                             # processes; auto = processors
redis: redis://127.0.0.1:6379/0           # also unix://, rediss://, sentinel and cluster URLs; `embedded` starts a private redis-server in state_dir
state_dir: /var/lib/fletching
timezone: Europe/Berlin                   # for the default InstanceID; default: the system's
campaign_window: 21d
server_id: mx1                            # default: host name
on_invalid_header: ignore                 # ignore | reject
on_store_failure: tempfail                # tempfail | untracked
max_rewrite_size: 5MiB
trusted: {authenticated: true, networks: [127.0.0.0/8, "::1/128"], services: []}   # the default
users: {crm: {force_mail_class: crm}, shop: {mail_class: newsletter}}
default_mail_class: newsletter            # default: none
bounce_mailbox: bounces@example.com
unsubscribe_mailbox: unsubscribe@example.com
url_domain: https://click.example.com
tracker_format: b
link_keys: /etc/fletching/link-keys       # made by `fletching key new`
mail_classes:
  crm: {track: {clicks: false, opens: false}}
  newsletter:
    list_id: t100
    virtual_mta: bulk
    track: {clicks: true, opens: true, text: true}
    list_unsubscribe: true
    multiple_recipients: shared           # shared | reject
    privacy: full                         # full | aggregate
    seed: {list: main, start: 1, end: 1000}
    archive: {sample: 0.01, directory: archive}
virtual_mtas:
  transactional: {transport: vmta-transactional}
  a: {transport: vmta-a, address: 192.0.2.10, helo: a.example.com}
  b: {transport: vmta-b, address: 192.0.2.11, helo: b.example.com, fallback: a}
  bulk: {pool: {a: 3, b: 1}, sticky: message}
seed_lists: {main: [seed1@gmail.example, seed2@yahoo.example]}
seeds: {submit: 127.0.0.1:25}
dkim:
  keys:
    - {domain: example.com, selector: s1, file: /etc/fletching/dkim/example.com.s1.pem, default: true}
web: {listen: 127.0.0.1:8090, trusted_proxies: [127.0.0.1/32]}
lmtp: {listen: unix:/run/fletching/lmtp.sock}
postfix: {log: /var/log/mail.log}         # or `journal`
bounces: {hard: 1, soft: 5, within: 10d, copy_to: postmaster@example.com}
metrics: {listen: 127.0.0.1:9810}         # Prometheus; also written to state_dir/metrics.prom
events:
  destinations:
    - {name: crm, webhook: https://crm.example.com/hook, secret_file: /etc/fletching/crm.secret, types: [engine_click, scomp]}
"""  # noqa: E501


def read(text: str) -> Config:
    return parse(text.encode(), FILE)


def complaints(text: str) -> list[str]:
    """What is said against a text: `line: path: message`."""
    with pytest.raises(ConfigError) as found:
        read(text)
    return [str(each).removeprefix(f"{FILE}:") for each in found.value.errors]


# What a file means


def test_example_configuration_loads() -> None:
    config = read(EXAMPLE)
    newsletter = config.mail_classes["newsletter"]
    assert config.campaign_window == 21 * 86400
    assert config.max_rewrite_size == 5 * 1024 * 1024
    assert config.trusted.networks == (ip_network("127.0.0.0/8"), ip_network("::1/128"))
    assert config.users["crm"].force_mail_class == "crm"
    assert (newsletter.name, newsletter.list_id, newsletter.virtual_mta) == (
        "newsletter",
        "t100",
        "bulk",
    )
    assert (newsletter.track.clicks, newsletter.track.opens, newsletter.track.text) == (True,) * 3
    assert newsletter.seed is not None
    assert (newsletter.seed.list, newsletter.seed.start, newsletter.seed.end) == ("main", 1, 1000)
    assert config.virtual_mtas["a"].address == ip_address("192.0.2.10")
    assert config.virtual_mtas["bulk"].pool == {"a": 3, "b": 1}
    assert config.dkim.keys[0].file == Path("/etc/fletching/dkim/example.com.s1.pem")
    assert config.metrics is not None
    assert config.metrics.listen == "127.0.0.1:9810"
    assert config.own_hosts == {"click.example.com"}
    assert config.transports == {"vmta-transactional", "vmta-a", "vmta-b"}


def test_a_user_names_a_class_in_any_case() -> None:
    text = "users: {a: {mail_class: NEWS}}\nmail_classes: {news: }\nlink_keys: keys"
    assert list(doubts(read(text))) == []


def test_classes_without_link_keys_are_warned_of() -> None:
    assert [each.path for each in doubts(read("mail_classes: {a: }"))] == [("link_keys",)]
    log = "link_keys: k\npostfix: {log: journal}\n"
    assert [each.path for each in doubts(read(log))] == [("postfix", "log")]
    assert list(doubts(read(f"{log}bounce_mailbox: b@example.com"))) == []
    assert list(doubts(read("virtual_mtas: {a: {transport: a}}"))) == []


ADDING = "rules: [{do: {hold: a}}, {do: {redirect: [a@example.com], bcc: [b@example.com]}}]\n"
ROUTING = ADDING + "virtual_mtas: {a: {transport: a}}\n"


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        (ROUTING, [("rules", 1, "do", "redirect"), ("rules", 1, "do", "bcc")]),
        (ROUTING + "routed_mailers: [smtp, unknown]", []),
        (ROUTING + "route_by: sender", []),
        (ADDING, []),
    ],
    ids=["header", "unknown is routed", "sender", "no VirtualMTA"],
)
def test_recipients_of_rules_that_keep_mail_from_being_routed(
    text: str, paths: list[tuple[object, ...]]
) -> None:
    assert [each.path for each in doubts(read(text))] == paths


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "~", "{}", "\ufeff"])
def test_empty_file_is_valid(text: str) -> None:
    assert read(text) == Config()


def test_defaults() -> None:
    config = read("redis: embedded")
    assert config.listen == "unix:/run/fletching/milter.sock"
    assert (config.workers, config.timezone, config.link_keys) == ("auto", None, None)
    assert config.worker_max_messages == 100_000
    assert (config.campaign_window, config.bounce_memory) == (21 * 86400, 10 * 86400)
    assert (config.on_invalid_header, config.on_store_failure) == ("ignore", "tempfail")
    assert config.trusted.authenticated
    assert config.trusted.networks == (ip_network("127.0.0.0/8"), ip_network("::1/128"))
    assert (config.recipient_delimiter, config.verp, config.tracker_format) == ("+", True, "b")
    assert (config.routed_mailers, config.route_by) == (("smtp", "relay"), "header")
    assert (config.preserve_visible_urls, config.one_click) == (True, True)
    assert (config.dkim.enabled, config.dkim.sign_unclassified) == (True, False)
    assert (config.mail_classes, config.virtual_mtas, config.users) == ({}, {}, {})
    assert config.own_hosts == config.transports == frozenset()


def test_defaults_of_a_class() -> None:
    news = read("mail_classes: {news: }").mail_classes["news"]
    assert (news.track.clicks, news.track.opens, news.track.text) == (False, False, True)
    assert (news.list_unsubscribe, news.multiple_recipients, news.privacy) == (
        True,
        "shared",
        "full",
    )
    as_global = set(type(news).model_fields) & set(Config.model_fields)
    assert {"bounce_mailbox", "verp", "url_domain", "untracked_hosts"} <= as_global
    assert all(getattr(news, name) is None for name in as_global)


def test_section_with_only_comments_is_empty() -> None:
    text = "users:\nmail_classes:\nvirtual_mtas:\nseed_lists:\ntrusted:\ndkim:\nuntracked_hosts:\n"
    assert read(text) == Config()


@pytest.mark.parametrize(
    ("mail_class", "found"),
    [
        ("all", {"opens", "clicks", "unsubscribes"}),
        ("ALL", {"opens", "clicks", "unsubscribes"}),
        ("bare", {"unsubscribes"}),
        ("clicked", {"clicks", "unsubscribes"}),
        ("aggregate", {"opens"}),
        ("gone", {"opens", "clicks", "unsubscribes"}),
    ],
)
def test_measured_numbers(mail_class: str, found: set[str]) -> None:
    classes = (
        "{all: {track: {opens: true, clicks: true}}, bare: {}, clicked: {track: {clicks: true}},"
        " aggregate: {track: {opens: true}, privacy: aggregate}}"
    )
    options = f"url_domain: https://c.example.com\nmail_classes: {classes}\n"
    assert read(f"{options}link_keys: keys\n").measured(mail_class) == found
    assert read("{}").measured(mail_class) == frozenset()
    for more, added in (
        ("lmtp: {}", {"bounces", "complaints"}),
        ("postfix: {log: /var/log/mail.log}", {"bounces", "deliveries"}),
        ("postfix: {}", set()),
    ):
        measured = read(f"{options}link_keys: keys\n{more}").measured(mail_class)
        assert measured == found | added


@pytest.mark.parametrize(
    ("destinations", "unlisted"),
    [
        ("", {"delivery_attempt", "message_prepared"}),
        ("{name: all, file: f}", {"delivery_attempt", "message_prepared"}),
        ("{name: a, file: f, types: [scomp, delivery_attempt]}", {"message_prepared"}),
        (
            "{name: a, file: f, types: [message_prepared]},"
            " {name: b, file: g, types: [delivery_attempt]}",
            set(),
        ),
    ],
)
def test_event_of_each_mail_must_be_listed(destinations: str, unlisted: set[str]) -> None:
    events = read(f"events: {{destinations: [{destinations}]}}").events
    assert events is not None
    assert events.unlisted == unlisted


def test_names_are_found_without_case() -> None:
    config = read("mail_classes: {News: }\nvirtual_mtas: {VMTA 1: {transport: a}}")
    news, vmta = config.mail_class("nEWS"), config.virtual_mta("vmta 1")
    assert (news and news.name, vmta and vmta.name) == ("News", "VMTA 1")
    assert config.mail_class("newsletter") is None
    assert config.virtual_mta("VMTA 2") is None


def test_references_do_not_depend_on_case() -> None:
    text = """
        default_mail_class: NEWS
        mail_classes: {news: {virtual_mta: BULK}}
        virtual_mtas: {a: {transport: a}, b: {transport: b, fallback: A}, bulk: {pool: {B: 1}}}
        """
    config = read(text)
    assert config.default_mail_class == "NEWS"


@pytest.mark.parametrize("name", ["no", "on", "12", "1.5", "~", "null", "2026-01-31", "a.b", "="])
def test_names_are_always_texts(name: str) -> None:
    assert list(read(f"virtual_mtas: {{{name}: {{transport: a}}}}").virtual_mtas) == [name]


def test_hosts_of_all_url_domains_are_ours() -> None:
    text = "url_domain: HTTPS://Click.Example.COM\nmail_classes: {a: {url_domain: 'http://H:8443'}}"
    config = read(text + "\nlink_keys: keys")
    assert config.url_domain == "https://click.example.com"
    assert config.own_hosts == {"click.example.com", "h:8443"}


def test_anchors_and_merges() -> None:
    text = """
        mail_classes:
          a: &common {list_id: a, privacy: aggregate}
          b: *common
          c: {<<: *common, list_id: c}
          d: {list_id: d, <<: [{list_id: x, verp: false}, *common]}
        """
    classes = read(text).mail_classes
    assert [each.list_id for each in classes.values()] == ["a", "a", "c", "d"]
    assert {each.privacy for each in classes.values()} == {"aggregate"}
    assert [each.name for each in classes.values()] == ["a", "b", "c", "d"]
    assert [each.verp for each in classes.values()] == [None, None, None, False]


def test_relative_paths_start_at_the_configuration_file(tmp_path: Path) -> None:
    file = tmp_path / "fletching.yaml"
    file.write_text(
        "link_keys: keys\nstate_dir: /srv\ndkim: {keys: [{domain: a, selector: s,\n"
        "  file: dkim/a.pem}]}\n"
    )
    config = load(file)
    assert config.link_keys == tmp_path / "keys"
    assert config.dkim.keys[0].file == tmp_path / "dkim" / "a.pem"
    assert config.state_dir == Path("/srv")


def test_a_configuration_does_not_change() -> None:
    config: Any = read(EXAMPLE)
    with pytest.raises(ValidationError, match="frozen"):
        config.workers = 2
    with pytest.raises(ValidationError, match="frozen"):
        config.mail_classes["newsletter"].list_id = "x"
    for mapping in (config.mail_classes, config.virtual_mtas["bulk"].pool, config.users):
        with pytest.raises(TypeError):
            mapping["x"] = None


def test_passwords_are_not_shown() -> None:
    text = """
        redis: redis://:hunter2@127.0.0.1:6379/0
        events: {destinations: [{name: a, webhook: 'https://h/hunter2'},
                                {name: b, sql: 'mysql://u:hunter2@h/d'}]}
        """
    config = read(text)
    assert "hunter2" in config.redis
    assert "hunter2" not in repr(config)
    with pytest.raises(ValidationError) as wrong:
        Config.model_validate({"redis": "redis//:hunter2@h"})
    assert "hunter2" not in str(wrong.value)


# What is wrong with one


@for_every(BROKEN)
def test_broken(file: Path) -> None:
    with pytest.raises(ConfigError) as found:
        load(file)
    told = str(found.value).replace(str(file), "{file}") + "\n"
    told = re.sub(r"(?<=unknown option: must be one of )add_headers,.*, \.\.\.", "...", told)
    expected = file.with_suffix(".error")
    got = file.with_name(f"got.{expected.name}")
    got.unlink(missing_ok=True)
    if not expected.exists() or told != expected.read_text():
        got.write_text(told)
    assert told == expected.read_text(), f"see {got}"


@for_every(BROKEN)
def test_only_the_expected_lines_have_errors(file: Path) -> None:
    """With the one line put right, nothing is wrong: the file fails for that line and no other."""
    content = file.read_bytes()
    right = re.sub(rb"(?m)^( *)# right: ?(.*)\n.*$", rb"\1\2", content)
    if right == content:
        assert file.stem.endswith("all-at-once") or file.stem.endswith("alias-bomb")
        return
    parse(right, file)


def test_every_bad_configuration_has_an_expected_error() -> None:
    told = [file.read_text() for file in sorted(ZOO.glob("[0-9]*.error"))]
    assert len(told) == len(BROKEN) >= 40
    assert not any("hunter2" in each for each in told)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # What is wrong is told once, and not what only follows from it.
        (
            "virtual_mtas: {a: {transport: a b}}\nmail_classes: {n: {virtual_mta: A}}",
            ["1: virtual_mtas.a.transport"],
        ),
        (
            "virtual_mtas:\n  a: {pool: {a: x}}",
            ["2: virtual_mtas.a.pool.a"],
        ),
        (
            "link_keys: [1]\nurl_domain: x\nmail_classes: {n: {track: {clicks: true}}}",
            ["1: link_keys", "2: url_domain"],
        ),
        ("verp: 1\nbounce_mailbox: " + "b" * 40 + "@h", ["1: verp"]),
        ("users: {a: {mail_class: x-y}, b: 3}", ["1: users.a.mail_class", "1: users.b"]),
        # A list keeps its numbers when an earlier item is left out.
        (
            "dkim:\n  keys:\n    - x\n    - {domain: a, selector: s, file: f}\n"
            "    - {domain: a, selector: s, file: g}",
            ["3: dkim.keys[0]", "5: dkim.keys[2]"],
        ),
        # Where the value of an alias is wrong, the line is that of the value.
        (
            "mail_classes:\n  a: &a {list_id: '-'}\n  b: *a",
            ["2: mail_classes.a.list_id", "2: mail_classes.b.list_id"],
        ),
    ],
    ids=["mta", "member", "links", "verp", "users", "list", "alias"],
)
def test_places(text: str, expected: list[str]) -> None:
    assert [":".join(each.split(":")[:2]) for each in complaints(text)] == expected


def test_a_name_that_is_no_word_is_quoted() -> None:
    assert complaints('virtual_mtas: {"a.b\\n": {transport: a}}')[0].startswith(
        '1: virtual_mtas."a.b\\n": must be'
    )


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    missing = tmp_path / "fletching.yaml"
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load(missing)
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(tmp_path)


def printable(wrong: ConfigError) -> None:
    """Every problem has its line, and the whole can be written to a log."""
    assert wrong.errors
    assert all(each.line > 0 and each.message for each in wrong.errors)
    str(wrong).encode()


KEYS = st.sampled_from([*Config.model_fields, "track", "pool", "transport", "<<", "x", "listne"])
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.dates().map(str)
)
TREES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=20,
)
SCRAPS = st.sampled_from(
    ["a", ":", " ", "\n", "- ", "{", "}", "[", "]", '"', "'", "&a ", "*a", "!!int ", "!x ", "? ",
     "<<: ", "0x_", "0b_", "1:2", ".nan", "\\", "\\ud800", "\\UFFFFFFFF", "|\n", "%YAML ", "---\n",
     "\t", "#", "=", "~", "\x85", "\u2028", "\ufeff", *Config.model_fields]
)  # fmt: skip


@given(
    st.binary(max_size=200)
    | st.text(max_size=200).map(str.encode)
    | st.lists(SCRAPS, max_size=30).map(lambda scraps: "".join(scraps).encode())
)
def test_no_bytes_raise_anything_else(content: bytes) -> None:
    try:
        parse(content, FILE)
    except ConfigError as wrong:
        printable(wrong)


@given(st.dictionaries(KEYS, TREES, max_size=6))
@settings(deadline=None)
def test_no_tree_raises_anything_else(tree: dict[str, object]) -> None:
    try:
        read(yaml.safe_dump(tree, allow_unicode=True))
    except ConfigError as wrong:
        printable(wrong)
