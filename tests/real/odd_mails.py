"""Mails in every odd form that Postfix takes, by what is odd about them."""

from __future__ import annotations

from .mails import COMMON, MIME, mail

HTML = b'<p>A <a href="https://shop.example/">link</a> here</p>\r\n'

ODD = {
    "plain": mail(),
    "HTML with links": mail(MIME + b"Content-Type: text/html", body=HTML * 20),
    "no header": b"\r\nonly a body\r\n",
    "no empty line": b"From: shop@example.com\r\nnot a field\r\n",
    "empty": b"",
    "raw 8-bit header": COMMON.replace(b"Offers", b"\xe9\xff \x80") + b"\r\nx\r\n",
    "8-bit name of a field": mail(b"X-\xe9: x"),
    "folded header": mail(b"X-Folded: a\r\n b\r\n\tc\r\n  \t d ", b"X-Empty:", b"X-Blank:   "),
    "blank before the colon": mail(b"X-Odd : a", b"X-Odder\t: b"),
    "60 kB header": mail(b"X-Large: " + b"word " * 12_000),
    "60 kB folded header": mail(b"X-Large: " + b"word\r\n " * 9_000),
    "many fields": mail(*[b"X-Many: %d" % number for number in range(2000)]),
    "NUL in the header": mail(b"X-Nul: a\x00b"),
    "NUL in the body": mail(body=b"a\x00b\x00\r\n\x00\r\n"),
    "bare CR": mail(body=b"a\rb\r\r\n\rc\r\n"),
    "bare CR in the header": mail(b"X-Bare: a\rb", body=b"x\r\n"),
    "bare LF": mail(body=b"a\nb\n\n.c\nd\r\n"),
    "bare LF in the header": mail(b"X-Bare: a\nX-Other: b\n c"),
    "control characters": mail(b"X-Control: \x01\x1b[31m\x7f", body=b"\x01\x1a\x7f\x0c\r\n"),
    "empty body": mail(body=b""),
    "blank lines": mail(body=b"\r\n \r\n\r\n\r\n"),
    "long lines": mail(b"X-Long: " + b"x" * 5000, body=b"y" * 5000 + b"\r\n"),
    "dots": mail(body=b".\r\n..\r\n.a\r\n"),
    "broken MIME": mail(
        MIME + b'Content-Type: multipart/mixed; boundary="b', body=b"--b\r\nContent-Type: ;;\r\n"
    ),
    "deep nesting": mail(
        MIME + b"Content-Type: multipart/mixed; boundary=b0",
        body=b"".join(
            b"--b%d\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n" % (depth, depth + 1)
            for depth in range(300)
        ),
    ),
    "1000 parts": mail(
        MIME + b"Content-Type: multipart/mixed; boundary=b",
        body=b"--b\r\nContent-Type: text/html\r\n\r\n<a href=http://a.example/>a</a>\r\n" * 1000,
    ),
}
