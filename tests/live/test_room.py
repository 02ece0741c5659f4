"""A whole conversation in virtual time: what is said comes out in every language, in order, once, and not too late."""

import asyncio
from dataclasses import replace
from itertools import pairwise

import msgspec
import numpy as np
import pytest

from benchmarks.live_measures import measure
from octavia_stream.asr.transcriber import AsrTask
from octavia_stream.asr.transcript import Transcript
from octavia_stream.audio.chunk import AudioChunk
from octavia_stream.errors import EngineUnavailable, NotFound, Overloaded, UnsupportedLanguage
from octavia_stream.languages import Language
from octavia_stream.live.events import (
    Caption,
    LanguageHeard,
    PhrasesDropped,
    PhraseSpoken,
    SessionEnded,
    SpeakerJoined,
    SpeakerLeft,
    Troubled,
)
from octavia_stream.live.frame import FRAME_SAMPLES
from octavia_stream.live.hearing import PROMPT_WORDS
from octavia_stream.live.options import LiveOptions, LiveTarget
from octavia_stream.live.room import LiveRoom
from octavia_stream.live.state import RoomState
from octavia_stream.testing import FollowingTranscriber, LevelDetector
from octavia_stream.virtual_time import VirtualTimeLoop
from tests.live.conftest import (
    EN,
    ES,
    PT,
    TO_PT,
    Conversation,
    Delays,
    choose,
    in_virtual_time,
    scripted,
    sound_of,
    talk,
    words_at,
)

SPEECH = (
    "we built the first machine in a small room on the second floor and nobody believed that it would ever work. "
    "after many months it printed one line of text, which was wrong, but we were happy with it"
)
WORDS = words_at(SPEECH)
SOUND = sound_of(WORDS, 16.0)
TO_TWO = LiveOptions(targets=(LiveTarget(PT, voice="pt-2"), LiveTarget(ES)), source=EN)


@pytest.fixture(scope="module")
def said() -> tuple[Conversation, Delays]:
    """One speech into two languages."""
    delays = Delays()
    return in_virtual_time(talk(scripted(WORDS, delays), {"ann": SOUND}, TO_TWO)), delays


def test_every_word_is_captioned_once_and_in_order(said: tuple[Conversation, Delays]) -> None:
    finals = [one for one in said[0].of(Caption) if one.source and one.final]
    assert " ".join(one.text for one in finals) == SPEECH
    assert [one.segment for one in finals] == list(range(1, len(finals) + 1))


@pytest.mark.parametrize("language", [PT, ES])
def test_every_word_is_spoken_in_every_language(said: tuple[Conversation, Delays], language: str) -> None:
    spoken = [one for one in said[0].of(PhraseSpoken) if one.language == language]
    assert " ".join(one.text for one in spoken) == " ".join(f"{word}-{language}" for word in SPEECH.split())
    assert all(before.start_s + before.duration_s <= after.start_s for before, after in pairwise(spoken))


def test_nothing_that_was_promised_is_taken_back(said: tuple[Conversation, Delays]) -> None:
    measured = measure(said[0].records, PT)
    assert (measured.retracted, measured.dropped) == (0, 0)


def test_frames_come_without_a_gap_at_the_pace_of_the_clock(said: tuple[Conversation, Delays]) -> None:
    frames = said[0].frames[PT]
    assert [frame.position for frame in frames] == [n * FRAME_SAMPLES for n in range(len(frames))]
    assert abs(len(frames) - said[0].records[-1].at_s * 50) <= 2


def test_what_is_told_to_sound_does_sound_there(said: tuple[Conversation, Delays]) -> None:
    heard = np.concatenate([frame.samples for frame in said[0].frames[PT]])
    for phrase in said[0].of(PhraseSpoken):
        if phrase.language == PT:
            start, end = round(phrase.start_s * 48_000), round((phrase.start_s + phrase.duration_s) * 48_000)
            assert np.abs(heard[start:end]).max() > 2000
            heard[start - 48 : end + 48] = 0
    assert not heard.any()


def test_speech_is_recognised_once_and_translated_once_for_each_language(said: tuple[Conversation, Delays]) -> None:
    conversation, delays = said
    phrases = [one.text for one in conversation.of(Caption) if one.source and one.final]
    asked = [what for stage, what in delays.calls if stage == "transcribe"]
    assert len(asked) == len(set(asked))
    translated = [what for stage, what in delays.calls if stage == "translate"]
    assert all(translated.count(text) >= 2 for text in phrases)
    drafts = sum(1 for one in conversation.of(Caption) if one.source and not one.final)
    assert len(translated) <= 2 * (len(phrases) + drafts)


def test_recognition_is_told_what_was_said_before_what_it_is_asked_about(said: tuple[Conversation, Delays]) -> None:
    told = said[1].said
    assert not told[0][1]
    for begins, before in told:
        done = [word.text for word in WORDS if word.end <= begins][-PROMPT_WORDS:]
        assert before == " ".join(done)
    assert len({before for _, before in told}) > 2


def test_captions_in_every_language_come_before_they_are_settled(said: tuple[Conversation, Delays]) -> None:
    captions = [one for one in said[0].of(Caption) if one.language == PT]
    assert sum(not one.final for one in captions) > 5
    assert [one.segment for one in captions] == sorted(one.segment for one in captions)
    assert all(one.stable == (len(one.text) if one.final else 0) for one in captions)


def test_the_lag_is_that_of_the_words_and_does_not_grow(said: tuple[Conversation, Delays]) -> None:
    spoken = [one for one in said[0].of(PhraseSpoken) if one.language == PT]
    assert min(one.ear_voice_span_s for one in spoken) > 0.5
    assert max(one.ear_voice_span_s for one in spoken) < 4.0


def test_events_end_with_the_end_of_the_session(said: tuple[Conversation, Delays]) -> None:
    assert said[0].events[0] == SpeakerJoined("ann")
    assert said[0].events[-1] == SessionEnded("said", 16.0)
    assert [record.seq for record in said[0].records] == list(range(1, len(said[0].records) + 1))


def test_silence_costs_nothing_and_says_nothing(delays: Delays) -> None:
    conversation = in_virtual_time(talk(scripted([], delays), {"ann": np.zeros(80_000, np.float32)}))
    assert delays.calls == []
    assert not conversation.of(PhraseSpoken)
    assert not conversation.of(Caption)


def test_noise_that_has_no_words_says_nothing_and_is_not_asked_about_for_ever(delays: Delays) -> None:
    conversation = in_virtual_time(talk(scripted([], delays), {"ann": np.full(50 * 16_000, 0.1, np.float32)}))
    assert not conversation.of(PhraseSpoken)
    assert not conversation.of(Caption)
    assert len(delays.calls) < 120
    heard = [tuple(map(int, what.split("-"))) for _, what in delays.calls]
    assert max(end - start for start, end in heard) <= 15 * 16_000
    assert max(end for _, end in heard) > 49 * 16_000


def test_everybody_in_a_room_has_a_voice_of_their_own(delays: Delays) -> None:
    conversation = in_virtual_time(talk(scripted(WORDS, delays), {"ann": SOUND, "bob": SOUND, "cid": SOUND}, TO_TWO))
    voices = conversation.room.state().speakers
    assert voices["ann"].voices[PT] == "pt-2"
    assert len({speaker.voices[PT] for speaker in voices.values()}) == 3
    assert len({speaker.voices[ES] for speaker in voices.values()}) == 3
    for name in voices:
        texts = [one.text for one in conversation.of(Caption) if one.source and one.final and one.speaker == name]
        assert " ".join(texts) == SPEECH


def test_speech_in_the_target_language_stays_silent_unless_it_may_pass() -> None:
    words = words_at("isto já está em português, e fica assim", start_s=0.5)
    silent = LiveOptions(targets=(LiveTarget(PT),))
    passing = msgspec.structs.replace(silent, own_language="pass")
    engines = scripted(words, language=PT)
    first = in_virtual_time(talk(engines, {"ann": sound_of(words, 5.0)}, silent))
    assert first.of(LanguageHeard) == [LanguageHeard("ann", PT)]
    assert first.of(PhraseSpoken) == []
    then = in_virtual_time(talk(engines, {"ann": sound_of(words, 5.0)}, passing))
    assert sum(one.duration_s for one in then.of(PhraseSpoken)) == pytest.approx(8 * 0.35, abs=0.05)


def test_a_pause_behind_an_article_waits_for_its_noun_but_not_for_ever() -> None:
    words = words_at("we looked at the") + words_at("Netherlands", start_s=2.5) + words_at("and at the", start_s=4.5)
    conversation = in_virtual_time(talk(scripted(words), {"ann": sound_of(words, 9.0)}))
    finals = [one.text for one in conversation.of(Caption) if one.source and one.final]
    assert finals == ["we looked at the Netherlands", "and at the"]


def test_a_word_that_sounds_foreign_changes_no_language() -> None:
    words = (
        words_at("this is how it begins here") + words_at("oh well", start_s=5.0) + words_at("it goes on", start_s=8.0)
    )

    class Unsure:
        """Takes short stretches for Welsh."""

        async def transcribe(
            self, audio: AudioChunk, language: Language | None, task: AsrTask = "transcribe"
        ) -> Transcript:
            heard = FollowingTranscriber(words, language or EN).transcribe(audio, language, task)
            doubtful = language is None and audio.duration_s < 2
            return Transcript(heard.words, Language("cy"), 0.4) if doubtful else heard

    engines = replace(scripted(words), transcriber=Unsure())
    options = LiveOptions(targets=(LiveTarget(PT),))
    conversation = in_virtual_time(talk(engines, {"ann": sound_of(words, 10.0)}, options))
    assert conversation.of(LanguageHeard) == [LanguageHeard("ann", EN)]
    finals = [one.text for one in conversation.of(Caption) if one.source and one.final]
    assert " ".join(finals) == "this is how it begins here oh well it goes on"


def test_captions_alone_are_not_spoken(delays: Delays) -> None:
    options = LiveOptions(targets=(LiveTarget(PT, captions_only=True),), source=EN)
    conversation = in_virtual_time(talk(scripted(WORDS, delays), {"ann": SOUND}, options))
    assert [one for one in conversation.of(Caption) if not one.source]
    assert not [stage for stage, _ in delays.calls if stage == "synthesize"]


@pytest.mark.parametrize("original", ["ducked", "pass"])
def test_the_original_can_be_heard_under_the_dub(original: str) -> None:
    options = msgspec.convert({"targets": [{"language": "pt"}], "source": "en", "original": original}, LiveOptions)
    conversation = in_virtual_time(talk(scripted(WORDS), {"ann": SOUND}, options))
    first = min(one.start_s for one in conversation.of(PhraseSpoken))
    before = np.concatenate([frame.samples for frame in conversation.frames[PT]])[: round(first * 48_000)]
    level = np.abs(before).max() / 32767
    assert level == pytest.approx(0.1 if original == "pass" else 0.1 * 10 ** (-18 / 20), rel=0.3)


@pytest.mark.parametrize(
    ("stage", "error"),
    [
        ("transcribe", EngineUnavailable()),
        ("translate", Overloaded()),
        ("synthesize", EngineUnavailable()),
        ("synthesize", RuntimeError("broken")),
    ],
)
def test_a_server_that_is_away_for_a_while_is_told_of_once_and_nothing_is_lost(stage: str, error: Exception) -> None:
    delays = Delays()

    async def outage(_: LiveRoom) -> None:
        await asyncio.sleep(3.0)
        delays.broken[stage] = error
        await asyncio.sleep(3.0)
        del delays.broken[stage]

    conversation = in_virtual_time(talk(scripted(WORDS, delays), {"ann": SOUND}, meanwhile=outage))
    assert len(conversation.of(Troubled)) == 1
    assert conversation.of(PhrasesDropped) == []
    spoken = " ".join(one.text for one in conversation.of(PhraseSpoken))
    assert spoken == " ".join(f"{word}-pt" for word in SPEECH.split())


@pytest.mark.parametrize("stage", ["transcribe", "translate", "synthesize"])
def test_a_server_that_never_comes_back_does_not_end_the_session_nor_hold_it(stage: str) -> None:
    delays = Delays(broken={stage: EngineUnavailable()})
    conversation = in_virtual_time(talk(scripted(WORDS, delays), {"ann": SOUND}))
    assert conversation.of(PhraseSpoken) == []
    assert conversation.events[-1] == SessionEnded("said", 16.0)
    assert conversation.records[-1].at_s < 16.0 + 9.0


def test_a_language_that_nobody_speaks_is_captioned_all_the_same() -> None:
    delays = Delays(broken={"synthesize": UnsupportedLanguage("No voice speaks it.")})
    conversation = in_virtual_time(talk(scripted(WORDS, delays), {"ann": SOUND}))
    assert [one.code for one in conversation.of(Troubled)] == ["unsupported_language"]
    assert [one for one in conversation.of(Caption) if not one.source]


def test_slow_synthesis_hurries_then_drops_and_the_lag_stays_bounded() -> None:
    words = words_at(" ".join([SPEECH] * 4))
    delays = Delays(synthesize_s=2.6)
    options = LiveOptions(targets=(LiveTarget(PT),), source=EN, max_lag_s=3.0)
    conversation = in_virtual_time(talk(scripted(words, delays), {"ann": sound_of(words, 60.0)}, options))
    drops = conversation.of(PhrasesDropped)
    assert drops
    assert drops[-1].total == sum(one.count for one in drops)
    spoken = conversation.of(PhraseSpoken)
    assert max(one.speed for one in spoken) == 1.25
    assert max(one.ear_voice_span_s for one in spoken) < 1.5 * 3.0 + 2.6 + 0.1


def test_a_room_goes_on_elsewhere_with_its_numbers_voices_and_positions() -> None:
    first = in_virtual_time(talk(scripted(WORDS), {"ann": SOUND}, TO_TWO))
    wire = msgspec.json.encode(first.room.state())
    assert len(wire) < 2000
    state = msgspec.json.decode(wire, type=RoomState)
    later = [msgspec.structs.replace(TO_TWO), state]
    shifted = words_at("and then it went on elsewhere without a break", start_s=16.5)
    sound = sound_of(shifted, 22.0)[16 * 16_000 :]
    second = in_virtual_time(talk(scripted(shifted), {"bob": sound[:16_000], "ann": sound}, *later))  # type: ignore[arg-type]
    assert second.records[0].seq == state.seq + 1
    numbers = [one.segment for one in second.of(Caption) if one.source and one.final]
    assert min(numbers) == state.segment + 1
    assert second.frames[PT][0].position == state.languages[PT].position
    assert second.room.state().speakers["ann"].voices[PT] == "pt-2"
    captions = [one for one in second.of(Caption) if one.source and one.final and one.speaker == "ann"]
    assert " ".join(one.text for one in captions) == "and then it went on elsewhere without a break"
    assert captions[0].start_s == 16.5


def test_who_leaves_is_finished_and_may_come_back() -> None:
    words = words_at("so it begins here and ends") + words_at("here it goes on", start_s=6.0)
    sound = sound_of(words, 9.0)

    async def talk_in_two_parts() -> list[object]:
        loop = asyncio.get_running_loop()
        room = LiveRoom(TO_PT, scripted(words), LevelDetector, choose, clock=loop.time)
        running = asyncio.create_task(room.run())
        speaker = room.speaker("ann")
        for start in range(0, len(sound), 320):
            await asyncio.sleep(0.02)
            speaker.push(sound[start : start + 320])
            if start == 320 * 140:
                speaker.leave("gone")
                await asyncio.sleep(2.0)
                assert room.load().speakers == 0
        await asyncio.gather(room.close("said"), room.close("again"))
        await running
        return [record.event async for record in room.events()]

    events = in_virtual_time(talk_in_two_parts())
    assert events.index(SpeakerLeft("ann", "gone")) < events.index(SpeakerJoined("ann"), 1)
    finals = [one.text for one in events if isinstance(one, Caption) and one.source and one.final]
    assert " ".join(finals) == "so it begins here and ends here it goes on"
    assert events[-1] == SessionEnded("said", 9.0)


def test_a_room_that_never_ran_can_be_closed() -> None:
    async def close() -> list[object]:
        room = LiveRoom(TO_PT, scripted([]), LevelDetector, choose)
        listener = room.listen(PT)
        await room.close("never began")
        assert [frame async for frame in listener] == []
        with pytest.raises(NotFound):
            room.listen(ES)
        return [record.event async for record in room.events()]

    assert in_virtual_time(close()) == [SessionEnded("never began", 0.0)]


def test_a_listener_that_does_not_listen_holds_nobody_up() -> None:
    async def lazy(room: LiveRoom) -> None:
        listener = room.listen(PT)
        await asyncio.sleep(10.0)
        assert listener.waiting <= 50
        assert listener.dropped > 400
        assert room.load().languages[PT].dropped_frames >= listener.dropped

    conversation = in_virtual_time(talk(scripted(WORDS), {"ann": SOUND}, meanwhile=lazy))
    assert measure(conversation.records, PT).dropped == 0


def test_work_in_threads_takes_the_time_it_is_charged() -> None:
    async def work() -> float:
        loop = asyncio.get_running_loop()
        await asyncio.to_thread(sum, range(3_000_000))
        return loop.time()

    with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(charged=True)) as runner:
        assert runner.run(work()) > 0
    assert in_virtual_time(work()) == 0
