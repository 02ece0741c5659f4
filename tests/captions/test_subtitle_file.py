"""Subtitle files come back as they were, apart from the words."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octavia_stream.captions.subtitle_file import SubtitleFile, read_subtitles
from octavia_stream.errors import SubtitlesRejected

SUBTITLES = Path(__file__).parents[1] / "data" / "subtitles"
ASS_HEAD = """[Script Info]
; a comment
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize
Style: Sign,Arial,20

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""
TTML = """<?xml version="1.0" encoding="UTF-8"?>
<!-- made by hand -->
<tt xmlns="http://www.w3.org/ns/ttml" xmlns:ttp="http://www.w3.org/ns/ttml#parameter" ttp:frameRate="25" xml:lang="en">
  <head><styling><style xml:id="s1"/></styling></head>
  <body><div begin="10s">
    <p xml:id="a" begin="00:00:01.000" end="00:00:02:12" style="s1">Héllo &amp; <span>bye</span><br/>second</p>
    <p begin="25f" dur="2s"><span style="s1">Whole</span></p>
    <p><span begin="5s" end="6s">one</span><span begin="6s" end="7s">two</span></p>
    <p begin="1s" end="0.5s">wrong</p>
  </div></body>
</tt>
"""


def texts(file: SubtitleFile) -> list[list[str]]:
    return [[passage.text for passage in cue.passages] for cue in file.cues]


def shouted(file: SubtitleFile, language: str | None = None) -> str:
    new = [[text.upper() for text in cue] for cue in texts(file)]
    return file.rewritten(new, language).decode(file.encoding.codec)


def srt(body: str) -> SubtitleFile:
    return read_subtitles(f"1\n00:00:01,000 --> 00:00:02,000\n{body}\n".encode())


def vtt(body: str) -> SubtitleFile:
    return read_subtitles(f"WEBVTT\n\n00:01.000 --> 00:02.000\n{body}\n".encode())


def ass(body: str) -> SubtitleFile:
    return read_subtitles(f"{ASS_HEAD}Dialogue: 0,0:00:01.00,0:00:02.00,Sign,,0,0,0,,{body}\n".encode())


@pytest.mark.parametrize("path", sorted(SUBTITLES.iterdir()), ids=lambda path: path.name)
def test_a_file_with_the_same_words_is_the_same_to_the_byte(path: Path) -> None:
    content = path.read_bytes()
    file = read_subtitles(content)
    assert file.rewritten(texts(file)) == content


@pytest.mark.parametrize("path", sorted(SUBTITLES.iterdir()), ids=lambda path: path.name)
def test_other_words_leave_times_and_everything_around_them(path: Path) -> None:
    file = read_subtitles(path.read_bytes())
    new = [["xyzzy" for _ in cue.passages] for cue in file.cues]
    again = read_subtitles(file.rewritten(new))
    assert [(cue.start_ms, cue.end_ms, cue.group) for cue in again.cues] == [
        (cue.start_ms, cue.end_ms, cue.group) for cue in file.cues
    ]
    assert texts(again) == new
    assert frame(again) == frame(file)


def frame(file: SubtitleFile) -> list[str]:
    """What stands around the cues' texts."""
    ends = [0, *(cue.span[1] for cue in file.cues)]
    starts = [*(cue.span[0] for cue in file.cues), len(file.document)]
    return [file.document[end:start] for end, start in zip(ends, starts, strict=True)]


@pytest.mark.parametrize(
    ("name", "cues", "left"),
    [
        ("bad_timestamps.srt", 1, 2),
        ("bad_timestamps.vtt", 2, 4),
        ("invalid_timecodes.ass", 2, 6),
        ("missing_timecode.srt", 2, 3),
    ],
)
def test_cues_without_a_valid_time_are_left_alone_with_a_warning(name: str, cues: int, left: int) -> None:
    content = (SUBTITLES / name).read_bytes()
    file = read_subtitles(content)
    assert len(file.cues) == cues
    assert sum(int(n) if n.isdigit() else 1 for n in re.findall(r"(\d+|One) subtitle", " ".join(file.warnings))) == left
    kept = [line for line in content.decode().splitlines() if "discarded" in line or "fourth" in line]
    assert all(line in shouted(file) for line in kept)


def test_a_byte_order_mark_and_its_encoding_are_kept() -> None:
    content = (SUBTITLES / "utf16le.srt").read_bytes()
    file = read_subtitles(content)
    written = file.rewritten([["Olá, ação"]] * len(file.cues))
    assert written.startswith(b"\xff\xfe")
    assert "Olá, ação" in written.decode("utf-16")


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1252", "Não há razão para isso, é só uma questão de coração — e de pão."),
        ("shift_jis", "これは字幕のテストです。とても簡単な文章を書いています。"),
        ("cp1251", "Это проверка субтитров, написанных в старой кодировке, и больше ничего."),
    ],
)
def test_old_encodings_are_recognised(encoding: str, text: str) -> None:
    content = f"1\n00:00:01,000 --> 00:00:02,000\n{text}\n".encode(encoding)
    file = read_subtitles(content)
    assert texts(file) == [[text]]
    assert file.rewritten([["ok"]]).startswith(b"1\n00:00:01,000")


def test_words_that_the_old_encoding_lacks_make_the_file_utf8_with_a_mark() -> None:
    file = read_subtitles("1\n00:00:01,000 --> 00:00:02,000\nNão há razão para isso.\n".encode("cp1252"))
    assert "你好" in file.rewritten([["你好"]]).decode("utf-8-sig")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("<i>Hello</i>", "<i>HELLO</i>"),
        ("{\\an8}Hello", "{\\an8}HELLO"),
        ("<i>Hello\nthere</i>", "<i>HELLO THERE</i>"),
        ('<font color="#fff">Emo</font> come here', "EMO COME HERE"),
        ("Come <i>here</i> now", "COME HERE NOW"),
        ("<i>- Hello</i>\n<i>- Hi</i>", "<i>- HELLO</i>\n<i>- HI</i>"),
        ("- Hello\n- Hi", "- HELLO\n- HI"),
        ("<i>- Hello\n- Hi</i>", "<i>- HELLO\n- HI</i>"),
        ("<i>narrator</i>\nspeaker", "<i>NARRATOR</i>\nSPEAKER"),
        ("♪ la la ♪", "♪ LA LA ♪"),
        ("-5 degrees", "-5 DEGREES"),
        ("a < b > c", "A < B > C"),
    ],
)
def test_markup_around_a_cue_or_a_line_stays_and_the_rest_goes(body: str, expected: str) -> None:
    assert shouted(srt(body)).split("\n", 2)[2].rstrip("\n") == expected


def test_voices_settings_notes_and_escapes_of_webvtt_are_kept() -> None:
    document = (
        "WEBVTT - title\r\nLanguage: en\r\n\r\nSTYLE\r\n::cue { color: red }\r\n\r\nNOTE\r\na note\r\n\r\n"
        "id one\r\n00:01.000 --> 00:02.000 align:start position:10%\r\n<v.loud Bob><i>Me</i> &amp; you</v>\r\n\r\n"
        "00:03.000 --> 00:04.000\r\n<v Bob>Hi\r\n<v Ann>Hello\r\n"
    )
    file = read_subtitles(document.encode())
    assert texts(file) == [["Me & you"], ["Hi", "Hello"]]
    expected = document.replace("<i>Me</i> &amp; you", "ME &amp; YOU").replace("Hi", "HI").replace("Hello", "HELLO")
    assert shouted(file, "pt") == expected.replace("Language: en", "Language: pt")


def test_overrides_comments_and_drawings_of_ass_are_kept() -> None:
    document = (
        ASS_HEAD
        + "Comment: 0,0:00:00.00,0:00:01.00,Sign,,0,0,0,,not shown\n"
        + r"Dialogue: 0,0:00:01.00,0:00:02.00,Sign,Ann,0,0,0,,{\pos(1,2)\i1}One, two{\i0} three{\r}"
        + "\n"
        + r"Dialogue: 0,0:00:02.00,0:00:03.00,Sign,,0,0,0,,{\p1}m 0 0 l 100 0 100 100{\p0}"
        + "\n"
    )
    file = read_subtitles(document.encode())
    assert texts(file) == [["One, two three"], []]
    assert shouted(file) == document.replace(r"One, two{\i0} three", "ONE, TWO THREE")


def test_ttml_times_count_frames_and_nested_beginnings() -> None:
    file = read_subtitles(TTML.encode())
    assert [(cue.start_ms, cue.end_ms) for cue in file.cues] == [
        (11_000, 12_480),
        (11_000, 13_000),
        (15_000, 16_000),
        (16_000, 17_000),
    ]
    assert file.warnings == ("One subtitle without a valid time is left as it is.",)


def test_ttml_comes_back_with_other_words_in_the_same_elements() -> None:
    expected = TTML.replace("Héllo &amp; <span>bye</span><br/>second", "HÉLLO &amp; BYE SECOND")
    for word in ("Whole", "one", "two"):
        expected = expected.replace(f">{word}<", f">{word.upper()}<")
    assert shouted(read_subtitles(TTML.encode()), "pt") == expected.replace('lang="en"', 'lang="pt"')


def test_ttml_in_an_old_encoding_writes_what_it_lacks_as_references() -> None:
    document = TTML.replace("UTF-8", "ISO-8859-1")
    file = read_subtitles(document.encode("latin-1"))
    assert texts(file)[0] == ["Héllo & bye second"]
    written = file.rewritten([["你"] * len(cue.passages) for cue in file.cues])
    assert "&#20320;" in written.decode("latin-1")
    assert texts(read_subtitles(written))[0] == ["你"]


@pytest.mark.parametrize("body", ["srt", "vtt", "ass"])
@given(words=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60))
def test_no_words_can_break_out_of_their_cue(body: str, words: str) -> None:
    file = {"srt": srt, "vtt": vtt, "ass": ass}[body]("hello")
    again = read_subtitles(file.rewritten([["x " + words]]))
    assert [(cue.start_ms, cue.end_ms) for cue in again.cues] == [(1000, 2000)]
    assert not again.warnings


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no subtitle file"),
        (b"just some words\n", "no subtitle file"),
        (b"\x00\x01\x02\x03" * 50, "no text file"),
        (b"WEBVTT\n", "no subtitle with a valid time"),
        (b"1\n00:00:09,000 --> 00:00:08,000\nbackwards\n", "no subtitle with a valid time"),
        (b"1\n00:00:01,000 --> 00:00:02,000\n<i></i>\n", "no words"),
        (b"\xff\xfe\x00", "UTF-16"),
        (TTML.replace("UTF-8", "punycode").encode(), "encoding"),
        (b"<?xml version='1.0'?><html/>", "another kind"),
        (TTML.replace("</body>", "").encode(), "not well-formed"),
    ],
)
def test_what_is_no_subtitle_file_is_refused_in_a_sentence(content: bytes, reason: str) -> None:
    with pytest.raises(SubtitlesRejected, match=reason):
        read_subtitles(content)
