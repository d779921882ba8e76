"""What --install does to the texts of main.cf and master.cf, and --remove undoes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from fletching.postfix.edits import main_cf, master_cf
from fletching.postfix.edits.main_cf import ListWord, Stripped, stripped, values, with_settings
from hypothesis import given
from hypothesis import strategies as st

from tests.cases import for_every

OWN = {"fletching_milter": "{ unix:m.sock, protocol=6 }", "fletching_checks": "regexp:checks"}


def last(found: Sequence[str]) -> int:
    return len(found)


def first(_: Sequence[str]) -> int:
    return 0


LISTS = (
    ListWord("smtpd_milters", "$fletching_milter", last),
    ListWord("non_smtpd_milters", "$fletching_milter", last),
    ListWord("milter_header_checks", "$fletching_checks", first),
    ListWord("virtual_alias_maps", "$fletching_checks", first, "virtual_maps"),
)
BLOCK = """\
# >>> fletching
# Added by `fletching postfix --install`; `fletching postfix --remove` takes it out again.
fletching_milter = { unix:m.sock, protocol=6 }
fletching_checks = regexp:checks
"""
SMTPD = "smtpd_milters = $fletching_milter\n"
LOCAL = "non_smtpd_milters = $fletching_milter\n"
CHECKS = "milter_header_checks = $fletching_checks\n"
ALIASES = "virtual_alias_maps = $fletching_checks\n"
END = "# <<< fletching\n"


def installed(text: str, lists: Sequence[ListWord] = LISTS) -> str:
    return with_settings(stripped(text), OWN, lists)[0]


@for_every(
    {
        "nothing is set": ("a = b\n", "a = b\n", SMTPD + LOCAL + CHECKS + ALIASES),
        "an empty file": ("", "", SMTPD + LOCAL + CHECKS + ALIASES),
        "no newline at the end": ("a = b", "a = b\n", SMTPD + LOCAL + CHECKS + ALIASES),
        "another milter": (
            "smtpd_milters = inet:localhost:11332\n",
            "smtpd_milters = inet:localhost:11332, $fletching_milter\n",
            LOCAL + CHECKS + ALIASES,
        ),
        "continuation lines with a comment between them": (
            "smtpd_milters =\n  inet:a:1\n# why\n\n\tinet:b:2\n# more\nb = c\n",
            "smtpd_milters =\n  inet:a:1\n# why\n\n\tinet:b:2, $fletching_milter\n# more\nb = c\n",
            LOCAL + CHECKS + ALIASES,
        ),
        "an entry in braces over two lines": (
            "smtpd_milters = { inet:a:1,\n    default_action=accept }  \n",
            "smtpd_milters = { inet:a:1,\n    default_action=accept }, $fletching_milter  \n",
            LOCAL + CHECKS + ALIASES,
        ),
        "one list names the other": (
            "smtpd_milters = inet:a:1\nnon_smtpd_milters = $smtpd_milters\n",
            "smtpd_milters = inet:a:1, $fletching_milter\nnon_smtpd_milters = $smtpd_milters\n",
            CHECKS + ALIASES,
        ),
        "one list names the other, which comes later": (
            "smtpd_milters = ${non_smtpd_milters}\nnon_smtpd_milters = inet:a:1\n",
            "smtpd_milters = ${non_smtpd_milters}\nnon_smtpd_milters = inet:a:1,"
            " $fletching_milter\n",
            CHECKS + ALIASES,
        ),
        "one list names the other, which is not set": (
            "non_smtpd_milters = $smtpd_milters\n",
            "non_smtpd_milters = $smtpd_milters\n",
            SMTPD + CHECKS + ALIASES,
        ),
        "both lists name a parameter of the administrator": (
            "mine = inet:a:1\nsmtpd_milters = $mine\nnon_smtpd_milters = $mine\n",
            "mine = inet:a:1\nsmtpd_milters = $mine, $fletching_milter\n"
            "non_smtpd_milters = $mine, $fletching_milter\n",
            CHECKS + ALIASES,
        ),
        "a parameter is set twice": (
            "smtpd_milters = inet:a:1\nsmtpd_milters = inet:b:2\n",
            "smtpd_milters = inet:a:1\nsmtpd_milters = inet:b:2, $fletching_milter\n",
            LOCAL + CHECKS + ALIASES,
        ),
        "an empty value": (
            "smtpd_milters =\nnon_smtpd_milters=  \n",
            "smtpd_milters = $fletching_milter\nnon_smtpd_milters= $fletching_milter  \n",
            CHECKS + ALIASES,
        ),
        "a table of the administrator": (
            "milter_header_checks = pcre:/x {{/a, b/ DUNNO}}\n",
            "milter_header_checks = $fletching_checks, pcre:/x {{/a, b/ DUNNO}}\n",
            SMTPD + LOCAL + ALIASES,
        ),
        "the default of a list is in use": (
            "virtual_maps = hash:/v\n",
            "virtual_maps = hash:/v\n",
            SMTPD + LOCAL + CHECKS + "virtual_alias_maps = $fletching_checks, $virtual_maps\n",
        ),
        "other settings of the milters": (
            "milter_default_action = accept\nmilter_protocol = 2\n",
            "milter_default_action = accept\nmilter_protocol = 2\n",
            SMTPD + LOCAL + CHECKS + ALIASES,
        ),
        "a comment that looks like a setting": (
            "#smtpd_milters = inet:a:1\n",
            "#smtpd_milters = inet:a:1\n",
            SMTPD + LOCAL + CHECKS + ALIASES,
        ),
    }
)
def test_main_cf_gets_words_where_lists_are_set_and_a_block(
    before: str, after: str, block: str
) -> None:
    found = installed(before)
    assert found == after + BLOCK + block + END
    assert installed(found) == found
    assert stripped(found).text == (
        before if before.endswith("\n") or not before else before + "\n"
    )


def test_block_in_a_file_with_crlf_has_crlf() -> None:
    found = installed("a = b\r\nsmtpd_milters = inet:a:1\r\n")
    assert found.count("\n") == found.count("\r\n")
    assert "smtpd_milters = inet:a:1, $fletching_milter\r\n" in found
    assert stripped(found).text == "a = b\r\nsmtpd_milters = inet:a:1\r\n"


@for_every(
    {
        "a list of our block was extended with postconf -e": (
            lambda text: text.replace(
                f"\n{SMTPD}", "\nsmtpd_milters = inet:a:1, $fletching_milter\n"
            ),
            "a = b\nsmtpd_milters = inet:a:1\n",
        ),
        "a setting was appended": (lambda text: text + "c = d\n", "a = b\nc = d\n"),
        "a setting was added to our block": (
            lambda text: text.replace(END, "c = d\n" + END),
            "a = b\nc = d\n",
        ),
        "a setting of our block was moved": (
            lambda text: text.replace(f"\n{SMTPD}", "\n") + SMTPD,
            "a = b\nsmtpd_milters =\n",
        ),
        "the markers were removed": (
            lambda text: text.replace(BLOCK[: BLOCK.index("fletching_milter")], "").replace(
                END, ""
            ),
            "a = b\nsmtpd_milters =\nnon_smtpd_milters =\nmilter_header_checks =\n"
            "virtual_alias_maps =\n",
        ),
        "our word was put on a line of its own": (
            lambda text: (
                text.replace(f"\n{SMTPD}", "\n")
                + "smtpd_milters = inet:a:1,\n  $fletching_milter\n"
            ),
            "a = b\nsmtpd_milters = inet:a:1,\n",
        ),
        "our word was put first": (
            lambda text: (
                text.replace(f"\n{SMTPD}", "\n")
                + "smtpd_milters =\n  $fletching_milter\n  inet:a:1\n"
            ),
            "a = b\nsmtpd_milters =\n  inet:a:1\n",
        ),
    }
)
def test_later_changes_of_an_administrator_stay(change, after: str) -> None:  # type: ignore[no-untyped-def]
    assert stripped(change(installed("a = b\n"))).text == after


def test_block_stays_where_it_is_when_it_changes() -> None:
    text = installed("a = b\n") + "c = d\n"
    found = with_settings(stripped(text), {"fletching_milter": "new"}, LISTS[:2])[0]
    assert found == (
        "a = b\n" + BLOCK.partition("fletching_milter")[0] + "fletching_milter = new\n"
        + SMTPD + LOCAL + END + "c = d\n"
    )  # fmt: skip


def test_our_parameters_in_other_settings_stay_until_remove() -> None:
    text = "relay_recipient_maps = $fletching_checks\n"
    names = [each.parameter for each in LISTS]
    assert stripped(text, names).text == text
    assert stripped(text).text == "relay_recipient_maps =\n"


def test_lines_pasted_by_hand_are_taken_over() -> None:
    pasted = (
        "a = b\n# >>> fletching\n# Fletching in main.cf.\nfletching_milter = x\n"
        "smtpd_milters = $fletching_milter\n"
        "milter_header_checks = regexp:$config_directory/milter_header_checks\n# <<< fletching\n"
    )
    assert installed(pasted) == "a = b\n" + BLOCK + SMTPD + LOCAL + CHECKS + ALIASES + END


# master.cf

A = "vmta-a unix - - n - - smtp\n  -o syslog_name=postfix/vmta-a\n"
B = "vmta-b unix - - n - - smtp\n  -o syslog_name=postfix/vmta-b\n"
SMTP = "smtp inet n - y - - smtpd\n"
ABOUT = f"{master_cf.ABOUT}\n"


def test_services_are_appended_and_taken_out() -> None:
    found = master_cf.with_services(SMTP, {"vmta-a/unix": A, "vmta-b/unix": B}, {})
    assert found == SMTP + ABOUT + A + B
    assert master_cf.without(found, ["vmta-a/unix", "vmta-b/unix"]) == SMTP


def test_service_that_is_there_already_is_left() -> None:
    more = A.rstrip() + "\n  -o smtp_sasl_auth_enable=yes\n"
    assert master_cf.with_services(SMTP + more, {"vmta-a/unix": A}, {}) == SMTP + more


@pytest.mark.parametrize(
    "other",
    [
        A.replace("smtp\n", "lmtp\n"),
        A.replace("postfix/vmta-a", "postfix/other"),
        "vmta-a unix - - n - - smtp\n",
    ],
    ids=["command", "value", "option"],
)
def test_service_of_the_same_name_that_is_different_is_an_error(other: str) -> None:
    with pytest.raises(ValueError, match=r"vmta-a/unix exists already.*postconf -MX vmta-a/unix"):
        master_cf.with_services(SMTP + other, {"vmta-a/unix": A}, {})


def test_services_follow_the_configuration() -> None:
    ours = {"vmta-a/unix": A, "vmta-b/unix": B}
    text = master_cf.with_services(SMTP, ours, {}) + "# end\n"
    new = A.rstrip() + "\n  -o smtp_helo_name=a.example.com\n"
    found = master_cf.with_services(text, {"vmta-a/unix": new}, ours)
    assert found == SMTP + ABOUT + new + "# end\n"


def test_service_that_an_administrator_extended_is_kept_and_must_still_fit() -> None:
    extended = A.rstrip() + "\n  -o smtp_sasl_auth_enable=yes\n"
    ours = {"vmta-a/unix": A}
    assert master_cf.with_services(extended, ours, ours) == extended
    with pytest.raises(ValueError, match="no -o syslog_name"):
        master_cf.with_services(extended, {"vmta-a/unix": "vmta-a unix - - n - - smtp\n"}, ours)


@for_every(
    {
        "a list of its own": (
            "  -o smtpd_milters=inet:a:1\n",
            "  -o smtpd_milters=inet:a:1,$fletching_milter\n",
        ),
        "in braces": (
            "  -o { smtpd_milters = inet:a:1, inet:b:2 }\n",
            "  -o { smtpd_milters = inet:a:1, inet:b:2,$fletching_milter }\n",
        ),
        "without a space after -o": (
            "  -osmtpd_milters=inet:a:1\n",
            "  -osmtpd_milters=inet:a:1,$fletching_milter\n",
        ),
        "an entry in braces": (
            "  -o smtpd_milters={inet:a:1,protocol=6}\n",
            "  -o smtpd_milters={inet:a:1,protocol=6},$fletching_milter\n",
        ),
        "a parameter of main.cf": (
            "  -o smtpd_milters=$mine\n",
            "  -o smtpd_milters=$mine,$fletching_milter\n",
        ),
        "a parameter that reaches Fletching": (
            "  -o smtpd_milters=$theirs\n",
            "  -o smtpd_milters=$theirs\n",
        ),
        "no milters": ("  -o smtpd_milters=\n", "  -o smtpd_milters=\n"),
        "a list that smtpd does not use": (
            "  -o non_smtpd_milters=inet:a:1\n",
            "  -o non_smtpd_milters=inet:a:1\n",
        ),
    }
)
def test_service_with_its_own_list(before: str, after: str) -> None:
    known = {"mine": "inet:a:1", "theirs": "inet:a:1, $fletching_milter"}
    text = f"{SMTP.rstrip()}\n  -o a=b\n# comment\n{before}  -o c=d\n"
    found = master_cf.with_words(text, LISTS, known)
    assert found == f"{SMTP.rstrip()}\n  -o a=b\n# comment\n{after}  -o c=d\n"
    assert master_cf.with_words(found, LISTS, known) == found
    assert master_cf.without(found, []) == text


# Any text

NAMES = ("smtpd_milters", "non_smtpd_milters", "milter_header_checks", "virtual_alias_maps",
         "mine", "a")  # fmt: skip
WORDS = st.sampled_from(
    [
        "inet:a:1",
        "$mine",
        "${smtpd_milters}",
        "{ inet:b:2, protocol=6 }",
        "hash:/x",
        "$a",
        "é\udcff",
    ]
)
GAPS = st.sampled_from([" ", ", ", ",", "\n  ", ",\n\t", "\n# comment\n  ", "  \n\n "])
ENDS = st.sampled_from(["\n", "\r\n", "\n\n", "\n# comment\n", " \n", ",\n"])


@st.composite
def settings_of_main_cf(draw: st.DrawFn) -> str:
    text = ""
    for name in draw(st.lists(st.sampled_from(NAMES), max_size=8)):
        found = draw(st.lists(WORDS, max_size=4))
        value = "".join(draw(GAPS) + word for word in found)
        text += name + draw(st.sampled_from(["=", " = ", " ="])) + value + draw(ENDS)
    return text if draw(st.booleans()) else text.rstrip("\n")


@st.composite
def lines_of_master_cf(draw: st.DrawFn) -> str:
    text = ""
    for name in draw(st.lists(st.sampled_from(["smtp inet", "x inet", "y unix"]), max_size=5)):
        command = draw(st.sampled_from(["smtpd", "cleanup", "smtp"]))
        text += f"{name} n - y - - {command}"
        for option in draw(st.lists(st.sampled_from(NAMES), max_size=3)):
            value = ",".join(draw(st.lists(WORDS, max_size=3)))
            form = draw(st.sampled_from(["-o {}={}", "-o{}={}", "-o {{ {} = {} }}"]))
            text += draw(GAPS).replace(",", " ") + form.format(option, value.replace(" ", ""))
        text += draw(st.sampled_from(["\n", "\n# comment\n", " \n", "\r\n"]))
    return text if draw(st.booleans()) else text.rstrip("\n")


def ends_with_newline(text: str) -> str:
    return text if text.endswith("\n") or not text else f"{text}\n"


@given(settings_of_main_cf())
def test_main_cf_is_the_same_after_install_and_remove(text: str) -> None:
    found = installed(text)
    assert stripped(found).text in (ends_with_newline(text), ends_with_newline(text)[:-1] + "\r\n")
    assert installed(found) == found
    for name in NAMES[:4]:
        known = values(found)
        wanted = "fletching_milter" if "milters" in name else "fletching_checks"
        assert main_cf.reaches(known[name], known, wanted)


@given(st.text())
def test_any_text_is_the_same_after_install_and_remove(text: str) -> None:
    found = stripped(installed(text)).text
    assert found.rstrip("\r\n") == text.rstrip("\r\n")


@given(lines_of_master_cf())
def test_master_cf_is_the_same_after_install_and_remove(text: str) -> None:
    ours = {"vmta-a/unix": A, "vmta-b/unix": B}
    found = master_cf.with_words(master_cf.with_services(text, ours, {}), LISTS, {"mine": "x"})
    assert master_cf.with_services(found, ours, ours) == found
    assert master_cf.with_words(found, LISTS, {"mine": "x"}) == found
    without = master_cf.without(found, ours)
    assert without in (ends_with_newline(text), ends_with_newline(text)[:-1] + "\r\n")


def test_stripping_a_text_without_ours_changes_nothing() -> None:
    assert stripped("a = b\n\n c\n") == Stripped("a = b\n\n c\n")
