"""The table of mailbox providers: whose mailbox a recipient has."""

from __future__ import annotations

from importlib.resources import files

import pytest
from fletching.domains import a_labels
from fletching.providers import OTHER, Providers

from tests.cases import for_every

TEXT = files("fletching").joinpath("providers.txt").read_text("ascii")
TABLE = Providers(TEXT)


@for_every(
    {
        "Gmail": ("gmail.com", "", "google"),
        "in upper case": ("GoogleMail.COM", "", "google"),
        "Outlook in a country": ("outlook.de", "", "microsoft"),
        "Hotmail under a second level": ("hotmail.co.uk", "", "microsoft"),
        "Live": ("live.nl", "", "microsoft"),
        "MSN": ("msn.com", "", "microsoft"),
        "Yahoo in Brazil": ("yahoo.com.br", "", "yahoo"),
        "Yahoo in Japan is another company": ("yahoo.co.jp", "", "yahoo_japan"),
        "AOL": ("aol.com", "", "yahoo"),
        "Rocketmail": ("rocketmail.com", "", "yahoo"),
        "Apple": ("me.com", "", "apple"),
        "GMX": ("gmx.at", "", "gmx"),
        "WEB.DE": ("web.de", "", "gmx"),
        "T-Online": ("t-online.de", "", "t-online"),
        "Wanadoo": ("wanadoo.fr", "", "orange"),
        "Free": ("free.fr", "", "free"),
        "SFR": ("neuf.fr", "", "sfr"),
        "La Poste": ("laposte.net", "", "laposte"),
        "Virgilio": ("virgilio.it", "", "libero"),
        "Mail.ru": ("bk.ru", "", "mail.ru"),
        "Yandex": ("yandex.kz", "", "yandex"),
        "QQ": ("qq.com", "", "tencent"),
        "126": ("126.com", "", "netease"),
        "Naver": ("naver.com", "", "naver"),
        "Comcast": ("comcast.net", "", "comcast"),
        "Proton": ("pm.me", "", "proton"),
        "Fastmail": ("fastmail.com", "", "fastmail"),
        "Zoho": ("zoho.eu", "", "zoho"),
        "unknown": ("example.org", "", OTHER),
        "no domain": ("", "", OTHER),
        "a label too many": ("mail.yahoo.com", "", OTHER),
        "a name that begins alike": ("yahoo.example.com", "", OTHER),
        "hosted by Google": ("example.org", "aspmx.l.google.com", "google"),
        "hosted by Microsoft": (
            "example.org",
            "example-org.mail.protection.outlook.com",
            "microsoft",
        ),
        "domain before server": ("gmx.net", "aspmx.l.google.com", "gmx"),
        "server in upper case": ("", "MX00.T-Online.DE", "t-online"),
        "server of that very name": ("", "web.de", "gmx"),
        "server with a final dot": ("", "mx.zoho.com.", "zoho"),
        "server that ends alike": ("", "notgoogle.com", OTHER),
        "server unknown": ("example.org", "mail.example.org", OTHER),
    }
)
def test_provider_of_a_recipient(domain: str, server: str, provider: str) -> None:
    assert TABLE.provider(domain, server) == provider


def test_names_are_as_they_are_compared() -> None:
    for line in TEXT.splitlines():
        if line and not line.startswith("#"):
            provider, _, name = line.split()
            assert name == name.lower() == a_labels(name)
            assert "|" not in provider
            assert provider != OTHER
    assert len(TABLE.names) > 50


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a domain", "line 1"),
        ("\na mx a.example", "line 2"),
        ("a domain a.example\nb domain a.example", "line 2: a.example is a's already"),
    ],
)
def test_wrong_line_is_named(text: str, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        Providers(text)


def test_deep_name_takes_no_long_time() -> None:
    assert TABLE.provider("", "a." * 100_000) == OTHER
