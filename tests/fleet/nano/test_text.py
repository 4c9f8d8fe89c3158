from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fleet.nano.text import Transcript, token_bytes
from fleet.nano.tokenizer import SPECIALS, Chat
from tests.fleet.nano import tiny

PIECES = token_bytes(tiny.tokenizer())
TEXTS = st.text(alphabet="ab€é ,7\n", max_size=30)


def said(text, stops=()):
    """What a transcript releases, token by token, and whether it stopped."""
    transcript = Transcript(PIECES, stops)
    parts = []
    for token in Chat(tiny.tokenizer()).text(text):
        parts.append(transcript.add(token))
        if transcript.stopped:
            break
    return [*parts, transcript.end()], transcript.stopped


@given(TEXTS)
def test_pieces_add_up_to_the_text(text):
    parts, stopped = said(text)
    assert "".join(parts) == text
    assert not stopped


@given(TEXTS, st.lists(st.text(alphabet="ab, ", min_size=1, max_size=3), max_size=3))
def test_a_reply_ends_before_its_first_stop_string(text, stops):
    parts, stopped = said(text, stops)
    found = [text.find(stop) for stop in stops if stop in text]
    assert stopped == bool(found)
    released = "".join(parts)
    if found:
        assert text.startswith(released)
        assert not any(stop in released for stop in stops)
        assert len(released) <= min(found) or any(text[len(released) :].startswith(stop) for stop in stops)
    else:
        assert released == text


def test_half_a_character_is_held_back():
    transcript = Transcript(PIECES)
    euro = Chat(tiny.tokenizer()).text("€")
    assert [transcript.add(token) for token in euro] == [""] * (len(euro) - 1) + ["€"]


def test_what_may_become_a_stop_string_is_held_back_until_it_does_not():
    transcript = Transcript(PIECES, ["7!"])
    seven, one = (Chat(tiny.tokenizer()).text(digit)[0] for digit in "71")
    assert [transcript.add(seven), transcript.add(one), transcript.add(seven), transcript.end()] == [
        "",
        "71",
        "",
        "7",
    ]


def test_special_tokens_spell_nothing():
    assert all(PIECES[tiny.tokenizer().token_to_id(token)] == b"" for token in SPECIALS)
