"""What stands in delivered mail: links that `fletching token` opens, and no hidden address."""

from __future__ import annotations

import quopri
import re
from collections.abc import Mapping

import pytest

from sandbox.postfix import Postfix
from sandbox.redis_server import RedisServer
from sandbox.sinks import Sink, SunkMail

from .fletching import Fletching
from .mails import MIME, NEWSLETTER, RECIPIENT, SENDER, body_of, links, mail

Sinks = Mapping[str, Sink]
TO_A = b"X-GreenArrow-MtaID: a"
PREFIX = {"a": "/click/", "b": "/click?", "c": "/click?qs="}

# What stands in the mail, and where a browser goes from there.
DESTINATIONS = {
    "https://shop.example/": "https://shop.example/",
    "http://shop.example:8080/a/b?x=1&amp;y=2#top": "http://shop.example:8080/a/b?x=1&y=2#top",
    "https://shop.example/?copy=1&copy=3&amp;amp;": "https://shop.example/?copy=1&copy=3&amp;",
    "https://shop.example/%C3%BC?q=%26%2F+%20": "https://shop.example/%C3%BC?q=%26%2F+%20",
    "HTTPS://Shop.Example/Path?": "HTTPS://Shop.Example/Path?",
    f"https://shop.example/?{'long=1&' * 300}": f"https://shop.example/?{'long=1&' * 300}",
}


def delivered(postfix: Postfix, sinks: Sinks, raw: bytes) -> SunkMail:
    reply = postfix.submit(raw, SENDER, [RECIPIENT])
    assert reply.accepted, reply
    (arrived,) = sinks["vmta-a"].wait()
    return arrived


@pytest.mark.parametrize("form", ["a", "b", "c"])
def test_links_in_html_and_text_open(
    fletching: Fletching, postfix: Postfix, sinks: Sinks, form: str
) -> None:
    to = "https://shop.example/offers?x=1&y=2#top"
    body = (
        f"--b\r\nContent-Type: text/plain\r\n\r\nSee {to}.\r\n--b\r\n"
        "Content-Type: text/html\r\n\r\n"
        f'<a href="{to.replace("&", "&amp;")}">Offers</a>\r\n--b--\r\n'
    ).encode()
    fields = (
        b"X-GreenArrow-InstanceID: 7spring",
        b"X-GreenArrow-Click-Tracking-ID: id 1",
        b"X-GreenArrow-Tracker-Format: " + form.encode(),
        MIME + b"Content-Type: multipart/alternative; boundary=b",
    )
    arrived = delivered(postfix, sinks, mail(NEWSLETTER, TO_A, *fields, body=body))
    assert b"shop.example" not in body_of(arrived.raw), "a destination can be read"
    text, html, pixel = links(arrived)
    assert text.endswith("."), "the full stop stays behind the link"
    told = {name: fletching.token(url) for name, url in (("t", text[:-1]), ("h", html))}
    info = fletching.token(str(arrived.message["X-Mailer-Info"]))
    for name, facts in told.items():
        assert (facts["kind"], facts["html_or_text"], facts["click_url"]) == ("click", name, to)
        for fact in ("campaign", "message_number", "email", "sendid", "listid", "mtaid"):
            assert facts[fact] == info[fact], fact
    assert (info["email"], info["sendid"], info["listid"], info["mtaid"]) == (
        *(RECIPIENT, "newsletter7spring"),
        *("t100", "a"),
    )
    assert told["h"]["click_tracking_id"] == "id 1"
    assert all(url.startswith(f"https://click.example.com{PREFIX[form]}") for url in (text, html))
    assert pixel.startswith(f"https://click.example.com{PREFIX[form].replace('click', 'open')}")
    assert fletching.token(pixel)["kind"] == "open"
    unsubscribe = re.search(r"<(https:[^>]*)>", str(arrived.message["List-Unsubscribe"]))
    assert unsubscribe is not None
    assert PREFIX[form].replace("click", "unsub") in unsubscribe[1]
    assert fletching.token(unsubscribe[1])["email"] == RECIPIENT


@pytest.mark.parametrize("encoding", ["7bit", "quoted-printable"])
def test_destinations_are_what_a_browser_would_have_asked_for(
    fletching: Fletching, postfix: Postfix, sinks: Sinks, encoding: str
) -> None:
    html = "".join(f'<p><a href="{href}">x</a></p>\r\n' for href in DESTINATIONS).encode()
    if encoding == "quoted-printable":
        html = quopri.encodestring(html.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")
    head = b"Content-Type: text/html\r\nContent-Transfer-Encoding: " + encoding.encode()
    arrived = delivered(postfix, sinks, mail(NEWSLETTER, TO_A, MIME + head, body=html))
    content = arrived.message.get_content()
    found = re.findall(r'<a href="([^"]*)">x</a>', content)
    assert [fletching.token(url)["click_url"] for url in found] == list(DESTINATIONS.values())


def test_an_unsubscribe_tag_opens(fletching: Fletching, postfix: Postfix, sinks: Sinks) -> None:
    body = b'<a href="##unsubscribetag##https://shop.example/bye?a=1">Bye</a>\r\n'
    raw = mail(NEWSLETTER, TO_A, MIME + b"Content-Type: text/html", body=body)
    told = fletching.token(links(delivered(postfix, sinks, raw))[0])
    assert (told["kind"], told["click_url"]) == ("unsub", "https://shop.example/bye?a=1")


def test_click_tracking_no_leaves_the_body(
    fletching: Fletching, postfix: Postfix, sinks: Sinks
) -> None:
    body = b'<opentag/><a href="https://shop.example/">x</a></body>\r\n'
    fields = (NEWSLETTER, TO_A, b"X-GreenArrow-Click-Tracking-Do: no")
    raw = mail(*fields, MIME + b"Content-Type: text/html", body=body)
    assert body_of(delivered(postfix, sinks, raw).raw) == body


READERS = {
    b"string": ("GET", ()),
    b"hash": ("HGETALL", ()),
    b"set": ("SMEMBERS", ()),
    b"list": ("LRANGE", (0, -1)),
    b"zset": ("ZRANGE", (0, -1, "WITHSCORES")),
    b"stream": ("XRANGE", ("-", "+")),
}


def everything_in(redis: RedisServer) -> str:
    """All keys of Redis with all that they hold."""
    found = []
    with redis.raw_client() as client:
        for key in client.scan_iter():
            # Not client.type(): it gives text, and a kind that we do not know must fail here.
            command, words = READERS[client.execute_command("TYPE", key)]
            found.append(f"{key!r} {client.execute_command(command, key, *words)!r}")
    return "\n".join(found)


HIDDEN = "hidden.person@secret.example"
OBSCURED = "reader 4711"


class TestHiddenAddress:
    """X-GreenArrow-Obscured-Email, and what is written down of a mail with it."""

    def send(self, postfix: Postfix, sinks: Sinks, *fields: bytes) -> SunkMail:
        html = MIME + b"Content-Type: text/html"
        body = b'<a href="https://shop.example/">x</a>\r\n'
        raw = mail(NEWSLETTER, TO_A, *fields, html, body=body)
        raw = raw.replace(RECIPIENT.encode(), b"undisclosed-recipients:;")
        assert postfix.submit(raw, SENDER, [HIDDEN]).accepted
        (arrived,) = sinks["vmta-a"].wait()
        assert arrived.recipients == (HIDDEN,)
        return arrived

    @pytest.fixture(autouse=True)
    def log_before(self, fletching: Fletching) -> None:
        self.before = len(fletching.log())

    def written_down(self, fletching: Fletching, redis: RedisServer, arrived: SunkMail) -> str:
        """All that is left of the mail: itself, the log, Redis, and the daemon's files."""
        files = (fletching.directory / "state").rglob("*")
        state = [file.read_text("latin-1") for file in files if file.is_file()]
        mail = [arrived.sender, arrived.below_received.decode("latin-1")]
        said = fletching.settled_log()[self.before :]
        return "\n".join([*mail, said, everything_in(redis), *state])

    def tokens(self, arrived: SunkMail) -> list[str]:
        unsubscribe = str(arrived.message["List-Unsubscribe"] or "")
        uris = re.findall(r"<([^>]*)>", unsubscribe)
        # A mailto: has its token in the subject.
        return [
            *links(arrived),
            str(arrived.message["X-Mailer-Info"]),
            *(uri.rpartition("subject=")[2] for uri in uris),
        ]

    def test_is_found_where_nothing_hides_it(
        self, fletching: Fletching, redis: RedisServer, postfix: Postfix, sinks: Sinks
    ) -> None:
        """Else the other tests would prove nothing."""
        arrived = self.send(postfix, sinks)
        assert HIDDEN in fletching.settled_log().splitlines()[-1]
        assert HIDDEN in everything_in(redis)
        assert [fletching.token(each)["email"] for each in self.tokens(arrived)] == [HIDDEN] * 5

    def test_stands_nowhere_and_its_other_form_instead(
        self, fletching: Fletching, redis: RedisServer, postfix: Postfix, sinks: Sinks
    ) -> None:
        arrived = self.send(postfix, sinks, b"X-GreenArrow-Obscured-Email: " + OBSCURED.encode())
        written = self.written_down(fletching, redis, arrived)
        for secret in (HIDDEN, HIDDEN.upper(), "hidden.person", "secret.example"):
            assert secret not in written
        assert OBSCURED in fletching.settled_log().splitlines()[-1]
        assert OBSCURED in everything_in(redis)
        assert [fletching.token(each)["email"] for each in self.tokens(arrived)] == [OBSCURED] * 5

    def test_a_slip_in_the_other_form_does_not_reveal_it(
        self, fletching: Fletching, redis: RedisServer, postfix: Postfix, sinks: Sinks
    ) -> None:
        arrived = self.send(postfix, sinks, b"X-GreenArrow-Obscured-Email: \xe9")
        assert "secret.example" not in self.written_down(fletching, redis, arrived)
        assert {fletching.token(each)["email"] for each in self.tokens(arrived)} == {""}
