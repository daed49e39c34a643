"""What the named patterns find, and what they leave."""

from __future__ import annotations

import re
import sys

import pytest

from holdfast.checkpoints.errors import DriverMissing
from holdfast.checkpoints.redaction.patterns import NAMED, Redactor, finders_of

FOUND = {
    "card": [
        "4111111111111111",
        "4111 1111 1111 1111",
        "3782-822463-10005",
        "5555555555554444",
        "4111 1111\r\n1111 1111",
        "4111.1111.1111.1111",
        "41 11 11 11 11 11 11 11",
        "2223 0031 2200 3222",
        "4111  1111 - 1111 1111",
        "4111\u00a01111\u202f1111\u20131111",  # spaces that do not break, and a dash
        "4\u200b11111\u200b1111111111",  # with characters of no width
        "４１１１１１１１１１１１１１１１",  # of full width
    ],
    "email": [
        "ada@example.org",
        "ada.l+work@mail.example.co.uk",
        "zoë@exämple.org",
        "zoe\u0308@exa\u0308mple.org",
        "o'brien@example.org",
        "ada%40example.org",
        "ada\u200b@example.org",
    ],
    "iban": [
        "DE89370400440532013000",
        "DE89 3704 0044 0532 0130 00",
        "gb29nwbk60161331926819",
        "NO9386011117947",
        "DE89\u00a03704 0044 0532\n0130 00",
    ],
    "phone": [
        "+49 30 1234567",
        "+14155550142",
        "0049-151-23456789",
        "(415) 555-0142",
        "415-555-0142",
        "1-415-555-0142",
        "415\u2011555\u20110142",
        "030 1234567",
        "06 12 34 56 78",
        "+49\u00a030\u00a01234567",
    ],
}

LEFT = [
    "4111111111111112",  # another check digit
    "1764446400000",  # a time in milliseconds
    "DE88370400440532013000",
    "2026-11-29 20:09:56",
    "05/2026",
    "2026-01-04 2026-01-06",
    "2015 2016 2017 2018",
    "30 2027-07-30 2027-07-31",
    "DE12 of order AB34 and 44",
    "05.12.26 10.30",
    "10.0.0.1",
    "550e8400-e29b-41d4-a716-446655440000",
    "00000000000000000000000000000005.8d2a1c3b4e5f",
    "order 1001 of 2026, 12 pieces at 9.99",
    "@ada and #7",
    "file@2x",
    "0.4111111111111111",
    "4111\n1111\n1111\n1111",  # a column of numbers
    "2017\t2018\t2019\t2020",
]


@pytest.mark.parametrize("name", NAMED)
def test_a_named_pattern_finds_its_forms_and_nothing_around_them(name: str) -> None:
    redactor = Redactor(finders_of([name]))
    for form in FOUND[name]:
        assert redactor.text(form) == f"[redacted: {name}]"
        assert redactor.text(f"It is {form}, and 12 more.") == f"It is [redacted: {name}], and 12 more."
        assert redactor.text(f"It is {form} is it") == f"It is [redacted: {name}] is it"
    assert redactor.found == {name: 3 * len(FOUND[name])}
    others = [form for other, forms in FOUND.items() if other != name for form in forms]
    for text in [*LEFT, *others]:
        assert redactor.text(text) is text


def test_a_number_is_found_beside_others() -> None:
    redactor = Redactor(finders_of(["card", "iban"]))
    assert redactor.text("4111 1111 1111 1111 12 29 123") == "[redacted: card] 12 29 123"
    assert redactor.text("12 4111 1111 1111 1111") == "12 [redacted: card]"
    two = "4111 1111 1111 1111 5555 5555 5555 4444"
    assert redactor.text(two) == "[redacted: card] [redacted: card]"


def test_a_number_is_found_without_a_space_before_it() -> None:
    redactor = Redactor(finders_of(["card", "iban", "phone"]))
    for number, name in (("4111111111111111", "card"), ("NO9386011117947", "iban"), ("+49 30 1234567", "phone")):
        for before, after in (("号码是", "吗"), ("Nr.", "."), (r"Result: {\"text\": \"pay\n", r"\n\"}")):
            assert redactor.text(f"{before}{number}{after}") == f"{before}[redacted: {name}]{after}"


def test_every_number_of_a_long_list_is_found_and_no_word_after_it() -> None:
    redactor = Redactor(finders_of(["card", "iban"]))
    numbers = ["4111 1111 1111 1111"] * 9 + ["DE89 3704 0044 0532 0130 00 Bank AG Berlin 12345 and more words"] * 3
    redactor.text(" ".join(numbers))
    assert redactor.found == {"card": 9, "iban": 3}
    assert redactor.text(" ".join(numbers)).endswith("[redacted: iban] Bank AG Berlin 12345 and more words")


def test_one_pattern_does_not_hide_what_another_finds() -> None:
    redactor = Redactor(finders_of(["card", re.compile("sk-[a-z]+")]))
    assert redactor.text("4111111111111111sk-secret") == "[redacted: card][redacted]"


def test_what_was_redacted_is_not_redacted_again() -> None:
    redactor = Redactor(finders_of([re.compile("[a-z]+"), "card"]))
    once = redactor.text("ada: 4111111111111111")
    assert once == "[redacted]: [redacted: card]"
    assert redactor.text(once) is once


def test_an_expression_needs_a_package_and_the_named_patterns_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "regex", None)
    assert [finder.name for finder in finders_of(["card", "phone"])] == ["card", "phone"]
    with pytest.raises(DriverMissing, match="pip install"):
        finders_of([re.compile("secret")])


def test_the_flags_of_an_expression_count_and_it_is_never_shown() -> None:
    [finder] = finders_of([re.compile("^secret.end$", re.IGNORECASE | re.MULTILINE | re.DOTALL)])
    assert finder.replace("a\nSECRET\nEND\nb") == ("a\n[redacted]\nb", 1)
    assert "secret" not in repr(finder)


def test_a_pattern_that_matches_everywhere_is_refused() -> None:
    with pytest.raises(ValueError, match="empty text"):
        finders_of([re.compile("a*")])
    [finder] = finders_of([re.compile(r"\b|secret")])  # places without characters are left
    assert finder.replace("a secret") == ("a [redacted]", 1)
    with pytest.raises(ValueError, match="card, email, iban, phone"):
        finders_of(["pin"])
    for wrong in (b"card", re.compile(b"card"), 7):
        with pytest.raises(TypeError, match="Needed"):
            finders_of([wrong])  # type: ignore[list-item]


def test_a_named_pattern_looks_at_each_part_of_a_text_few_times() -> None:
    # Each of these took seconds with an expression that backtracks; the time limit of a test is for the worst of them.
    redactor = Redactor(finders_of(list(NAMED)))
    for piece in ("a", "1", "1 ", "1-", "a.", "a'", "a@", "DE12", "+49 ", "0", "\u200b"):
        assert isinstance(redactor.text(piece * 10_000), str)
