"""Parts of ``format=flowed``: what a recipient's program joins is one link, in every encoding."""

from __future__ import annotations

import re

import pytest
from fletching.links.flowed import delsp

from tests.rewriting import done, encoded, read

PARAGRAPH = (
    "Read on: https://a.example/0123456789 \r\nabcdef?user=joe&list={} \r\n7, then go \r\non.\r\n"
)
TEXT = "\r\n".join(PARAGRAPH.format(number) for number in range(30))


def part(kind: str, encoding: str) -> bytes:
    fields = f"Content-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    content = TEXT.encode()
    if encoding == "quoted-printable":
        return fields.encode() + content.replace(b"=", b"=3D").replace(b" \r\n", b"=20\r\n")
    return fields.encode() + encoded(content, encoding)


@pytest.mark.parametrize("encoding", ["7bit", "8bit", "quoted-printable", "base64"])
@pytest.mark.parametrize(
    ("kind", "joined"),
    [
        ("text/plain; format=flowed; delsp=yes", True),
        ('Text/Plain; DelSp="YES"; Format=Flowed', True),
        ("text/plain; format=flowed", False),
        ("text/plain; delsp=yes", False),
    ],
)
def test_url_over_several_flowed_lines_is_one_destination(
    kind: str, joined: bool, encoding: str
) -> None:
    rewritten = done(part(kind, encoding))
    note, *_ = rewritten.notes
    assert note.not_rewritten == ""
    whole = "https://a.example/0123456789" + ("abcdef?user=joe&list={}7" if joined else "")
    expected = [whole.format(number) for number in range(30)]
    assert [link.url for link in note.links] == expected
    ((_, content),) = read(rewritten.message)
    rest = re.sub(r"https://t\.example/\S*?(?=[ ,])", "⟦⟧", content.decode())
    url = r"https://a.example/0123456789" + (
        r" \r\nabcdef\?user=joe&list=\d+ \r\n7" if joined else ""
    )
    assert rest == re.sub(url, "⟦⟧", TEXT)


PARAMETERS = {
    "both": ({"format": "flowed", "delsp": "yes"}, True),
    "another case": ({"format": "Flowed", "delsp": "Yes"}, True),
    "fixed": ({"format": "fixed", "delsp": "yes"}, False),
    "no format": ({"delsp": "yes"}, False),
    "no delsp": ({"format": "flowed"}, False),
    "delsp off": ({"format": "flowed", "delsp": "no"}, False),
}


@pytest.mark.parametrize(("parameters", "expected"), PARAMETERS.values(), ids=PARAMETERS)
def test_which_parameters_mean_delsp(parameters: dict[str, str], expected: bool) -> None:
    assert delsp(parameters) is expected
