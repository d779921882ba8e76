"""The rules of `fletching lint` about content and unsubscribing, at their limits."""

from __future__ import annotations

from fletching.lint.all import judge
from fletching.lint.sent import Sent
from fletching.mail.message import Message, parse

from tests.cases import for_every
from tests.test_lint import SIGNED, broken, good


def html_mail(html: str, encoding: str = "8bit") -> Message:
    """A mail of one part."""
    kind = "Content-Type: text/html; charset=utf-8\nContent-Transfer-Encoding"
    return parse(f"{kind}: {encoding}\n\n{html}".encode())


def texts(message: Message, rule: str) -> list[str]:
    """What the findings of a rule say."""
    return [each.text for each in judge(Sent(message=message)) if each.rule.name == rule]


def test_limits_of_the_content() -> None:
    lines = ("x" * 98 + "\n") * 1044  # 100 bytes each, with CRLF
    limit = lines + "y" * (102 * 1024 - 104_400)
    assert texts(html_mail(limit), "html-too-large") == []
    assert texts(html_mail(limit + "y"), "html-too-large") == ["the HTML has 102 kB"]
    for length, wanted in ((59, ["images in the HTML: 1, characters of text: 59"]), (60, [])):
        page = html_mail(f'<img src=x alt=""><p>{"x" * length}</p>')
        assert texts(page, "only-images") == wanted


def test_pixel_is_no_image() -> None:
    pixel = '<img src=x width=1 height=1><img src=y alt="">'
    assert texts(html_mail(pixel), "alt-missing") == []
    assert texts(html_mail(pixel + "<img src=z>"), "alt-missing") == [
        "images without alt text: 1 of 2"
    ]
    assert texts(html_mail("<img src=x width=1 height=1>"), "only-images") == []


def test_links_of_plain_text_are_judged() -> None:
    message = good(("three coats, two hats", "https://tinyurl.com/a, https://bit.ly/b"))
    found = judge(Sent(message=message, signatures=(SIGNED,)))
    assert [each.text for each in found] == [
        "a link goes through bit.ly",
        "a link goes through tinyurl.com",
    ]


def test_attachments_and_forwarded_mails_are_not_judged() -> None:
    page = '<a href="https://bit.ly/x">www.other.example</a><img src=x>'
    attached = (
        "--b\nContent-Type: text/html; name=page.html\nContent-Disposition: attachment\n\n",
        "--b\nContent-Type: message/rfc822\n\nContent-Type: text/html\n\n",
    )
    for header in attached:
        assert broken(good(("--b--", f"{header}{page}\n--b--"))) == []
    shown = "--b\nContent-Type: text/html\n\n"
    rules = broken(good(("--b--", f"{shown}{page}\n--b--")))
    assert rules == ["alt-missing", "only-images", "link-shortener", "link-misleads"]


FAULTS_OF_UNSUBSCRIBE = {
    "<http://a.example/u>": "List-Unsubscribe has an http URL, but no https URL",
    "<mailto:u@a.example>": "List-Unsubscribe has no https URL",
    "https://a.example/u": "List-Unsubscribe has no https URL",
    "<HTTPS://a.example/u>": "List-Unsubscribe-Post is not List-Unsubscribe=One-Click",
}


@for_every(tuple(FAULTS_OF_UNSUBSCRIBE))
def test_list_unsubscribe_without_one_click(value: str) -> None:
    message = parse(f"List-Unsubscribe: {value}\nList-Unsubscribe-Post: x\n\n".encode())
    assert texts(message, "unsubscribe-not-one-click") == [FAULTS_OF_UNSUBSCRIBE[value]]
