"""Words, queries and snippets: the same for every database."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from holdfast.checkpoints.errors import InvalidSearch
from holdfast.checkpoints.search.query import MOST_QUERY_WORDS, Term, parse_query
from holdfast.checkpoints.search.snippet import SNIPPET_LENGTH, make_snippet
from holdfast.checkpoints.search.tokenizer import (
    LONGEST_WORD,
    MOST_BYTES,
    MOST_CHARACTERS,
    MOST_POSITIONS,
    MOST_WORDS,
    SKIPPED,
    tokenize,
    tokenize_for_index,
    tokenize_with_spans,
)

TEXTS = st.text() | st.text("aAé \u0301\u0327ßﬁ東の한i\u0307\xad\ufe0f-\u200d")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Köln KOLN koln Ko\u0308ln", "koln koln koln koln"),
        ("Straße, ﬁn; ＦＵＬＬ ② ΣΊΣΥΦΟΣ", "strasse fin full 2 σισυφοσ"),
        ("don't e-mail x_y 3.14", "don t e mail x y 3 14"),
        ("soft\xadhyphen ❤\ufe0f 1\ufe0f\u20e3", "softhyphen 1"),
        ("東京 とう ไทย", "東 京 と う ไ ท ย"),
        ("한국어 हिन्दी", "한국어 हिनदी"),
        ("\0 \ud800 ' \" & | ! : * \ue000", ""),
    ],
)
def test_words_have_no_case_no_accents_and_nothing_but_letters(text: str, found: str) -> None:
    import unicodedata

    assert tokenize(text) == unicodedata.normalize("NFKD", found).split()


@given(TEXTS)
@example("e\u0301 한")
def test_every_word_has_its_place_in_the_text(text: str) -> None:
    there = tokenize_with_spans(text)
    assert [word for word, _, _ in there] == tokenize(text)
    assert all(word in tokenize(text[start:end]) for word, start, end in there)
    assert [start for _, start, _ in there] == sorted(start for _, start, _ in there)


def test_a_long_text_is_searched_as_far_as_every_index_can() -> None:
    assert tokenize("x" * 1000) == ["x" * LONGEST_WORD]
    assert len(tokenize("x " * MOST_CHARACTERS)) == MOST_WORDS
    assert tokenize(" " * MOST_CHARACTERS + "late") == []
    many = "".join(f"{'㉼' * 5}{chr(0xAC00 + number)} " for number in range(11_000))
    assert 0 < sum(len(word.encode()) for word in tokenize(many)) <= MOST_BYTES
    assert len(tokenize_with_spans(many)) == len(tokenize(many)) < 11_000
    often = tokenize_for_index("often " * (MOST_POSITIONS + 2) + "last")
    assert (often[MOST_POSITIONS - 1 : MOST_POSITIONS + 1], often[-1]) == (["often", SKIPPED], "last")


def test_a_query_has_words_phrases_beginnings_and_what_must_not_be_there() -> None:
    asked = parse_query('Refund "Brass calculator" -cancelled ord* -"by mail" e-mail refund "unclosed*')
    assert asked.terms == (
        Term(("refund",)),
        Term(("brass", "calculator")),
        Term(("ord",), is_prefix=True),
        Term(("e", "mail")),
        Term(("unclosed",)),
    )
    assert asked.excluded == (Term(("cancelled",)), Term(("by", "mail")))


@pytest.mark.parametrize("text", ["", "   ", "-only -this", '""', "!?&|:*()<->", "\0\ud800"])
def test_nothing_to_search_for_is_an_error(text: str) -> None:
    with pytest.raises(InvalidSearch, match="no word to search for"):
        parse_query(text)


def test_too_much_to_search_for_is_an_error() -> None:
    with pytest.raises(InvalidSearch, match=f"{MOST_QUERY_WORDS + 1} words. Search for at most {MOST_QUERY_WORDS}"):
        parse_query(" ".join(f"w{number}" for number in range(MOST_QUERY_WORDS + 1)))


def marked(text: str, asked: str) -> str:
    line, marks = make_snippet(text, parse_query(asked))
    for start, end in reversed(marks):
        line = f"{line[:start]}[{line[start:end]}]{line[end:]}"
    return line


def test_a_snippet_shows_what_was_found_in_one_line() -> None:
    assert marked("Köln,\n\n  the   Order", "order koln") == "[Köln],  the [Order]".replace("  ", " ")
    assert marked("the brass brass calculator", '"brass calculator" cal*') == "the brass [brass calculator]"
    assert marked("東京都", "京都") == "東[京都]"
    far = f"order {'x ' * 200}brass order {'y ' * 200}"
    assert marked(far, "order brass").count("[") == 2, "where both are near each other"
    assert marked(far, "order brass").startswith("…x x")
    assert marked(far, "order brass").endswith("y…")
    assert marked("nothing of it", "order") == "nothing of it"


@given(TEXTS, st.data())
def test_a_snippet_marks_what_is_in_the_text_and_is_short(text: str, data: st.DataObject) -> None:
    there = tokenize(text)
    if not there:
        return
    chosen = data.draw(st.sampled_from(there))
    line, marks = make_snippet(f"{'before ' * 40}{text} {'after ' * 40}", parse_query(chosen))
    assert marks
    assert len(line) <= SNIPPET_LENGTH + LONGEST_WORD + 2
    assert "\n" not in line
    assert all(chosen in tokenize(line[start:end]) for start, end in marks)
