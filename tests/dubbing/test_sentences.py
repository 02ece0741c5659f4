"""Words become sentences, whole and always the same ones."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octavia_stream.asr.transcript import Word
from octavia_stream.dubbing.punctuation import join_words
from octavia_stream.dubbing.segment import Sentence
from octavia_stream.dubbing.sentences import LONG_PAUSE, LONGEST, SHORTEST, SentenceAssembler
from octavia_stream.languages import Language

RATE = 16_000
EN, PT, ZH = Language("en"), Language("pt"), Language("zh")


def spoken(text: str, *, seconds: float = 0.3, gap: float = 0.05, start: float = 0.0) -> list[Word]:
    """One word after another; `|` stands for a pause of 1.5 s."""
    words, at = [], start
    for part in text.split():
        if part == "|":
            at += 1.5
            continue
        words.append(Word(part, int(at * RATE), int((at + seconds) * RATE), 0.9))
        at += seconds + gap
    return words


def assemble(words: list[Word], language: Language = EN) -> list[Sentence]:
    assembler = SentenceAssembler(language)
    return assembler.push(words, words[-1].end if words else 0) + assembler.finish()


def texts(text: str, language: Language = EN, **timing: float) -> list[str]:
    return [sentence.text for sentence in assemble(spoken(text, **timing), language)]


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        (EN, "Good morning everyone. Let us begin now.", ["Good morning everyone.", "Let us begin now."]),
        (EN, "Is that so? Yes, it is! Good for you.", ["Is that so?", "Yes, it is!", "Good for you."]),
        (EN, "I met Dr. Smith in Washington. He was late.", ["I met Dr. Smith in Washington.", "He was late."]),
        (EN, "It grew by 3.5 percent. Nobody knew.", ["It grew by 3.5 percent.", "Nobody knew."]),
        (EN, "We met at 5 p.m. on Monday. It rained.", ["We met at 5 p.m. on Monday.", "It rained."]),
        (PT, "O Sr. Silva chegou cedo. A Dra. Ana não.", ["O Sr. Silva chegou cedo.", "A Dra. Ana não."]),
        (PT, "Custa 3.500 reais. É muito caro.", ["Custa 3.500 reais.", "É muito caro."]),
        (PT, "Foi o J. R. Tolkien. Ele escreveu livros.", ["Foi o J. R. Tolkien.", "Ele escreveu livros."]),
        (Language("ko"), "안녕하세요 여러분. 오늘은 좋습니다.", ["안녕하세요 여러분.", "오늘은 좋습니다."]),
    ],
)
def test_a_sentence_ends_at_its_punctuation_and_not_at_an_abbreviation(
    language: Language, text: str, expected: list[str]
) -> None:
    assert texts(text, language) == expected


def test_chinese_is_joined_without_spaces_and_ends_at_its_own_full_stop() -> None:
    words = spoken("我 今天 很 高兴。 你 呢 怎么样？")
    assert [sentence.text for sentence in assemble(words, ZH)] == ["我今天很高兴。", "你呢怎么样？"]


@pytest.mark.parametrize(
    ("language", "words", "text"),
    [
        (Language("ja"), ["これ", "は", "Python", "です。"], "これはPythonです。"),
        (EN, ["the", "word", "我", "means", "I"], "the word 我 means I"),
        (Language("th"), ["สวัสดี", "ครับ"], "สวัสดีครับ"),
        (Language("ko"), ["안녕", "여러분"], "안녕 여러분"),
    ],
)
def test_words_are_joined_as_their_script_writes_them(language: Language, words: list[str], text: str) -> None:
    assert join_words(words, language) == text


def test_a_long_pause_ends_a_sentence_without_punctuation() -> None:
    assert texts("so what we did | was quite simple") == ["so what we did", "was quite simple"]


def test_a_very_short_sentence_joins_its_neighbour_unless_a_long_pause_parts_them() -> None:
    assert texts("Yes. I think that we should go.") == ["Yes. I think that we should go."]
    assert texts("I think that we should go. Yes.") == ["I think that we should go. Yes."]
    assert texts("Yes. | I think that we should go.") == ["Yes.", "I think that we should go."]


def test_a_long_sentence_is_cut_after_the_clause_nearest_its_middle() -> None:
    first = " ".join(["word"] * 24) + " end,"
    second = " ".join(["other"] * 27) + " end."
    sentences = assemble(spoken(f"{first} {second}"))
    assert [sentence.text for sentence in sentences] == [first, second]


def test_a_long_sentence_without_punctuation_is_cut_in_its_largest_pause_near_the_middle() -> None:
    left, right = spoken(" ".join(["left"] * 26)), spoken(" ".join(["right"] * 24), start=26 * 0.35 + 0.6)
    assert [len(sentence.text.split()) for sentence in assemble(left + right)] == [26, 24]


def test_speech_that_never_ends_is_released_all_the_same() -> None:
    """A monologue without punctuation must not wait for the end of the file."""
    assembler = SentenceAssembler(EN)
    words = spoken(" ".join(["on"] * 400))
    released = assembler.push(words, words[-1].end)
    assert words[-1].end - released[-1].end < 4 * LONGEST
    assert all(sentence.end - sentence.start <= LONGEST for sentence in released)


def test_a_sentence_waits_for_the_chunk_that_completes_it() -> None:
    assembler = SentenceAssembler(EN)
    words = spoken("The first part of it | and of the second there is more to come. Then all is well here.")
    first = assembler.push(words[:8], words[7].end)
    assert [sentence.text for sentence in first] == ["The first part of it"]
    rest = assembler.push(words[8:], words[-1].end) + assembler.finish()
    assert [sentence.text for sentence in rest] == [
        "and of the second there is more to come.",
        "Then all is well here.",
    ]
    assert [sentence.index for sentence in first + rest] == [0, 1, 2]


def test_a_sentence_is_told_before_the_next_has_ended() -> None:
    """Sentences can be longer than chunks: whoever waits for the end of the next begins a chunk later."""
    words = spoken("That was all of it. And now there is something longer than anybody")
    [first] = SentenceAssembler(EN).push(words, words[-1].end)
    assert first.text == "That was all of it."


def test_silence_that_is_known_completes_the_last_sentence() -> None:
    """A chunk planned in a pause need not wait for the next chunk's words."""
    assembler = SentenceAssembler(EN)
    words = spoken("That was all of it.")
    assert assembler.push(words, words[-1].end) == []
    assert len(assembler.push([], words[-1].end + LONG_PAUSE)) == 1
    assert assembler.finish() == []


def test_no_words_make_no_sentences() -> None:
    assert assemble([]) == []
    assert texts(" ") == []


@st.composite
def transcripts(draw: st.DrawFn) -> list[Word]:
    at, words = 0, []
    for count in range(draw(st.integers(0, 60))):
        at += draw(st.sampled_from([0, 0, 800, 4_000, 12_000, 19_199, 19_200, 40_000]))
        length = draw(st.sampled_from([1_600, 4_000, 8_000, 30_000]))
        mark = draw(st.sampled_from(["", "", "", ",", ".", "?", "...", ".”"]))
        stem = draw(st.sampled_from(["So", "we", "Dr", "went", "U.S", "3.5", "A", "é"]))
        words.append(Word(f"{stem}{count}{mark}" if draw(st.booleans()) else stem + mark, at, at + length, 0.5))
        at += length
    return words


@given(transcripts(), st.sampled_from([EN, PT, ZH]), st.data())
def test_sentences_do_not_depend_on_how_the_words_were_chunked(
    words: list[Word], language: Language, data: st.DataObject
) -> None:
    """Whatever the chunks, and however far the silence after them is known."""
    whole = assemble(words, language)
    assembler = SentenceAssembler(language)
    pieces: list[Sentence] = []
    at = 0
    while at < len(words):
        size = data.draw(st.integers(1, len(words) - at))
        chunk = words[at : at + size]
        at += size
        latest = words[at].start if at < len(words) else chunk[-1].end + 100_000
        pieces += assembler.push(chunk, data.draw(st.integers(min(chunk[-1].end, latest), latest)))
    pieces += assembler.finish()
    assert pieces == whole


@given(transcripts(), st.sampled_from([EN, PT]))
def test_every_word_is_in_one_sentence_and_in_order(words: list[Word], language: Language) -> None:
    sentences = assemble(words, language)
    assert " ".join(sentence.text for sentence in sentences).split() == [word.text for word in words]
    assert [sentence.index for sentence in sentences] == list(range(len(sentences)))
    for sentence, following in pairwise(sentences):
        assert sentence.start < sentence.end <= following.start
    starts, ends = {word.start for word in words}, {word.end for word in words}
    assert all(sentence.start in starts and sentence.end in ends for sentence in sentences)


@given(transcripts())
def test_no_sentence_is_too_long_and_none_is_too_short_without_need(words: list[Word]) -> None:
    sentences = assemble(words)
    assert all(sentence.end - sentence.start <= LONGEST or " " not in sentence.text for sentence in sentences)
    for sentence, following in pairwise(sentences):
        if min(sentence.end - sentence.start, following.end - following.start) < SHORTEST:
            apart = following.start - sentence.end >= LONG_PAUSE
            assert apart or following.end - sentence.start > LONGEST


@given(transcripts(), st.integers(1, 12))
def test_where_the_next_sentence_starts_is_known_from_its_first_word(words: list[Word], step: int) -> None:
    assembler = SentenceAssembler(EN)
    foretold: list[int] = []
    sentences: list[Sentence] = []
    for at in range(0, len(words), step):
        sentences += assembler.push(words[at : at + step], words[min(at + step, len(words)) - 1].end)
        if assembler.next_start is not None:
            foretold.append(assembler.next_start)
    sentences += assembler.finish()
    assert set(foretold) <= {sentence.start for sentence in sentences}
    assert assembler.next_start is None
