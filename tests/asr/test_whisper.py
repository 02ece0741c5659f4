"""Whisper on real speech."""

import csv
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import jiwer
import numpy as np
import pytest
from faster_whisper import WhisperModel

from octavia_stream.asr.transcriber import Follow, TranscribeRequest
from octavia_stream.asr.transcript import Transcript, Word
from octavia_stream.asr.whisper import SURE, UNKNOWN, WhisperEngine
from octavia_stream.audio.chunk import ASR_RATE_HZ, AudioChunk
from octavia_stream.audio.resampling import resample
from octavia_stream.errors import InvalidRequest, ModelCorrupt, UnsupportedLanguage
from octavia_stream.languages import Language
from octavia_stream.models.registry import Registry
from octavia_stream.tts.voice_engines import VoiceEngines

pytestmark = pytest.mark.model

Recording = Callable[[str], AudioChunk]
DATA = Path(__file__).parents[1] / "data"
ENGLISH, PORTUGUESE, FRENCH = Language("en"), Language("pt"), Language("fr")


def spelled(text: str) -> str:
    return " ".join(re.sub(r"[^\w' ]", " ", text.casefold().replace("-", " ")).split())


def error_rate(reference: str, transcript: Transcript) -> float:
    return float(jiwer.wer(spelled(reference), spelled(transcript.text)))


def in_order(words: tuple[Word, ...], audio: AudioChunk) -> bool:
    return (
        all(audio.offset <= word.start < word.end <= audio.end for word in words)
        and all(before.end <= after.start for before, after in pairwise(words))
        and all(word.text == word.text.strip() != "" and 0 <= word.probability <= 1 for word in words)
    )


@pytest.mark.parametrize("model", ["tiny", "base"])
def test_a_short_speech_is_transcribed_without_error(
    model: str, recording: Recording, request: pytest.FixtureRequest
) -> None:
    engine: WhisperEngine = request.getfixturevalue(model)
    audio = recording("speech/en/jfk.flac")

    transcript = engine.transcribe(audio, ENGLISH)

    assert error_rate((DATA / "speech/en/jfk.txt").read_text(), transcript) == 0
    assert (transcript.language, transcript.language_probability) == (ENGLISH, 1.0)
    assert in_order(transcript.words, audio)


@pytest.mark.parametrize("model", ["tiny", "base"])
def test_words_are_where_they_are_spoken(model: str, recording: Recording, request: pytest.FixtureRequest) -> None:
    """The file is made of clips whose bounds are known: their first and last words must be there."""
    engine: WhisperEngine = request.getfixturevalue(model)
    whole = recording("speech/en/lj_printing_4min.flac")
    with (DATA / "speech/en/lj_printing_4min.segments.tsv").open() as file:
        clips = list(csv.DictReader(file, delimiter="\t"))[:4]
    audio = whole.cut(0, round((float(clips[-1]["end"]) + 0.2) * ASR_RATE_HZ))

    transcript = engine.transcribe(audio, ENGLISH)

    assert error_rate(" ".join(clip["text"] for clip in clips), transcript) < 0.1
    assert in_order(transcript.words, audio)
    for clip in clips:
        start, end = float(clip["start"]), float(clip["end"])
        inside = [word for word in transcript.words if start < (word.start + word.end) / 2 / ASR_RATE_HZ < end]
        assert spelled(inside[0].text) == spelled(clip["text"]).split()[0]
        assert inside[0].start / ASR_RATE_HZ == pytest.approx(start, abs=0.2)
        assert inside[-1].end / ASR_RATE_HZ == pytest.approx(end, abs=0.2)


def test_the_first_word_does_not_swallow_the_silence_before_it(tiny: WhisperEngine, recording: Recording) -> None:
    speech = recording("speech/en/jfk.flac")
    silence = np.zeros(4 * ASR_RATE_HZ, np.float32)
    audio = replace(speech, samples=np.concatenate((silence, speech.samples)))

    first = tiny.transcribe(audio, ENGLISH).words[0]

    assert first.start > 4 * ASR_RATE_HZ


def test_positions_are_on_the_timeline_of_the_chunk(tiny: WhisperEngine, recording: Recording) -> None:
    audio = recording("speech/en/jfk.flac")
    here = tiny.transcribe(audio, ENGLISH).words
    later = tiny.transcribe(replace(audio, offset=1_234_567), ENGLISH).words

    assert [(word.text, word.start + 1_234_567, word.end + 1_234_567) for word in here] == [
        (word.text, word.start, word.end) for word in later
    ]


def test_chunks_of_different_jobs_in_one_batch_give_what_each_gives_alone(
    base: WhisperEngine, recording: Recording
) -> None:
    requests = [
        TranscribeRequest(replace(recording("speech/en/jfk.flac"), offset=777), ENGLISH),
        TranscribeRequest(recording("speech/pt/leopard_pt.wav"), None),
        TranscribeRequest(recording("nonspeech/leopard_noise.wav"), ENGLISH),
        TranscribeRequest(recording("speech/en/fleurs-en-003.ogg"), ENGLISH),
        TranscribeRequest(recording("speech/fr/udhr_fr_article1.wav"), FRENCH, "translate"),
        TranscribeRequest(recording("speech/en/fleurs-en-000.ogg").cut(0, 77_777), ENGLISH),
    ]

    together = base.transcribe_batch(requests)

    assert [transcript.language for transcript in together] == ["en", "pt", "en", "en", "en", "en"]
    for request, transcript in zip(requests, together, strict=True):
        alone = base.transcribe(request.audio, request.language, request.task)
        assert in_order(transcript.words, request.audio)
        assert transcript.text == alone.text
        starts = [word.start for word in transcript.words]
        assert starts == pytest.approx([word.start for word in alone.words], abs=ASR_RATE_HZ // 10)


def test_calls_from_several_threads_give_what_each_gives_alone(registry: Registry, recording: Recording) -> None:
    engine = WhisperEngine(registry.resolve("whisper-base").path, workers=2)
    names = ["speech/en/jfk.flac", "speech/pt/leopard_pt.wav", "speech/de/fleurs-de-003.ogg", "speech/en/jfk.flac"]
    chunks = [recording(name) for name in names]

    with ThreadPoolExecutor(2) as threads:
        together = list(threads.map(lambda chunk: engine.transcribe(chunk, None), chunks))

    assert together == [engine.transcribe(chunk, None) for chunk in chunks]
    assert [transcript.sounds_like for transcript in together] == ["en", "pt", "de", "en"]


@pytest.mark.parametrize(
    ("name", "language", "limit"),
    [
        ("speech/pt/leopard_pt.wav", "pt", 0.15),
        ("speech/pt/fleurs-pt-000.ogg", "pt", 0.25),
        ("speech/pt/fleurs-pt-004.ogg", "pt", 0.25),
        ("speech/es/fleurs-es-002.ogg", "es", 0.15),
        ("speech/de/fleurs-de-003.ogg", "de", 0.25),
    ],
)
def test_the_language_is_detected_and_understood(
    base: WhisperEngine, recording: Recording, name: str, language: str, limit: float
) -> None:
    transcript = base.transcribe(recording(name), None)

    assert transcript.language == language
    assert transcript.language_probability > 0.8
    assert error_rate((DATA / name).with_suffix(".txt").read_text(), transcript) < limit


def test_a_window_is_encoded_once_for_its_language_and_its_words(
    base: WhisperEngine, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode, encoded = WhisperModel.encode, []

    def counted(model: WhisperModel, features: object) -> object:
        encoded.append(features)
        return encode(model, features)

    monkeypatch.setattr(WhisperModel, "encode", counted)
    for cut in (40_000, 88_888):
        assert base.transcribe(recording("speech/en/jfk.flac").cut(0, cut), None).words
    assert len(encoded) == 2


def test_an_accent_that_the_detector_doubts_is_decided_by_what_gives_sense(
    base: WhisperEngine, recording: Recording
) -> None:
    transcript = base.transcribe(recording("video/softcatala_english.mp4"), None)

    assert transcript.language == "en"
    assert transcript.language_probability < SURE
    assert len(transcript.words) > 10


@pytest.mark.parametrize("name", ["fleurs-en-002", "fleurs-en-003"])
def test_speech_that_peaks_below_45_dbfs_is_understood(base: WhisperEngine, recording: Recording, name: str) -> None:
    audio = recording(f"speech/en/{name}.ogg")
    assert np.abs(audio.samples).max() < 10 ** (-45 / 20)

    transcript = base.transcribe(audio, ENGLISH)

    assert error_rate((DATA / f"speech/en/{name}.txt").read_text(), transcript) < 0.25


@pytest.mark.parametrize(
    ("name", "language", "expected"),
    [
        ("speech/fr/udhr_fr_article1.wav", "fr", {"human", "beings", "dignity", "rights", "reason", "conscience"}),
        ("speech/pt/fleurs-pt-000.ogg", "pt", {"family", "incident", "actions"}),
        ("speech/es/fleurs-es-002.ogg", "es", {"people", "access", "square"}),
    ],
)
def test_speech_is_translated_into_english(
    base: WhisperEngine, recording: Recording, name: str, language: str, expected: set[str]
) -> None:
    audio = recording(name)

    transcript = base.transcribe(audio, Language(language), "translate")

    assert transcript.language == ENGLISH
    assert expected <= set(spelled(transcript.text).split())
    assert in_order(transcript.words, audio)


def test_what_is_said_after_a_question_and_a_pause_is_heard(base: WhisperEngine, registry: Registry) -> None:
    """To Whisper they seem the end of all."""
    phrases = ["E assim o meu companheiro", "Os americanos.", "O que o seu país pode", "fazer por você."]
    phrases += ["Pergunte o que você pode", "fazer pelo seu país."]
    voice = registry.voices(PORTUGUESE)[0]
    speaking = VoiceEngines(registry)
    spoken = [resample(speaking.synthesize(phrase, voice), ASR_RATE_HZ).samples for phrase in phrases]
    speaking.close()
    pause = np.zeros(ASR_RATE_HZ * 13 // 10, np.float32)
    audio = AudioChunk(np.concatenate([part for one in spoken for part in (pause, one)]), ASR_RATE_HZ)

    transcript = base.transcribe(audio, PORTUGUESE)

    assert error_rate(" ".join(phrases), transcript) < 0.2
    assert in_order(transcript.words, audio)
    assert transcript.words[-1].start > audio.length - spoken[-1].size


def test_somebody_in_the_background_is_not_heard_after_the_end(base: WhisperEngine, recording: Recording) -> None:
    near = recording("speech/en/jfk.flac").cut(0, 5 * ASR_RATE_HZ)
    far = AudioChunk(recording("speech/pt/leopard_pt.wav").samples * np.float32(10 ** (-24 / 20)), ASR_RATE_HZ)
    both = AudioChunk(np.concatenate([near.samples, far.samples]), ASR_RATE_HZ)

    transcript = base.transcribe(both, ENGLISH)

    assert spelled(transcript.text) == spelled(base.transcribe(near, ENGLISH).text)


def test_noise_and_silence_have_no_words_and_no_language(base: WhisperEngine, recording: Recording) -> None:
    silence = AudioChunk(np.zeros(10 * ASR_RATE_HZ, np.float32), ASR_RATE_HZ)
    empty = AudioChunk(np.zeros(0, np.float32), ASR_RATE_HZ)
    for audio in (recording("nonspeech/leopard_noise.wav"), silence, empty):
        assert base.transcribe(audio, None) == Transcript((), UNKNOWN, 0.0)
        assert base.transcribe(audio, PORTUGUESE) == Transcript((), PORTUGUESE, 0.0)


def test_an_english_model_refuses_other_languages(tiny: WhisperEngine, recording: Recording) -> None:
    audio = recording("speech/pt/leopard_pt.wav")
    assert tiny.languages == (ENGLISH,)
    with pytest.raises(UnsupportedLanguage, match="does not understand Portuguese"):
        tiny.transcribe(audio, PORTUGUESE)
    assert tiny.transcribe(recording("speech/en/jfk.flac"), None).language == ENGLISH


def test_the_catalogue_lists_the_languages_that_the_models_know(
    base: WhisperEngine, tiny: WhisperEngine, registry: Registry
) -> None:
    for engine, model_id in ((base, "whisper-base"), (tiny, "whisper-tiny.en")):
        assert set(registry.catalogue.model(model_id).languages) == set(engine.languages)


def test_a_language_that_whisper_does_not_know_is_refused(base: WhisperEngine, recording: Recording) -> None:
    with pytest.raises(UnsupportedLanguage, match="Zulu"):
        base.transcribe(recording("speech/pt/leopard_pt.wav"), Language("zu"))


@pytest.mark.parametrize(
    "audio",
    [
        AudioChunk(np.zeros(31 * ASR_RATE_HZ, np.float32), ASR_RATE_HZ),
        AudioChunk(np.zeros(48_000, np.float32), 48_000),
        AudioChunk(np.zeros((16_000, 2), np.float32), ASR_RATE_HZ),
    ],
    ids=["31 s", "48 kHz", "stereo"],
)
def test_sound_of_another_form_is_refused(tiny: WhisperEngine, audio: AudioChunk) -> None:
    with pytest.raises(InvalidRequest):
        tiny.transcribe(audio, ENGLISH)


def test_a_full_window_of_thirty_seconds_is_accepted(tiny: WhisperEngine, recording: Recording) -> None:
    audio = recording("speech/en/lj_printing_4min.flac").cut(0, 30 * ASR_RATE_HZ)
    transcript = tiny.transcribe(audio, ENGLISH)
    assert len(transcript.words) > 50
    assert in_order(transcript.words, audio)


def test_read_only_arrays_are_accepted(tiny: WhisperEngine, recording: Recording) -> None:
    """Ray gives arrays back that cannot be written."""
    audio = recording("speech/en/fleurs-en-003.ogg")
    audio.samples.setflags(write=False)
    assert tiny.transcribe(audio, ENGLISH).words


def test_a_directory_without_a_model_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelCorrupt, match="octavia models verify") as caught:
        WhisperEngine(tmp_path)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("seconds", [2.4, 3.7, 5.1, 8.3])
def test_speech_that_goes_on_is_heard_as_far_as_it_goes(
    base: WhisperEngine, recording: Recording, seconds: float
) -> None:
    """A window of its own length gives the words that the whole window gives, the last one aside: it may be cut."""
    audio = replace(recording("speech/en/lj_printing_4min.flac").cut(0, round(seconds * ASR_RATE_HZ)), offset=0)

    followed, whole = base.transcribe(audio, ENGLISH, Follow()), base.transcribe(audio, ENGLISH)

    known = " ".join(word.text for word in whole.words[:-1])
    assert error_rate(known, replace(followed, words=followed.words[: len(whole.words) - 1])) <= 0.2
    assert in_order(followed.words, audio)
    assert max(abs(one.end - other.end) for one, other in zip(followed.words, whole.words, strict=False)) < 8000


def test_what_was_said_before_is_gone_on_with_in_the_same_way(base: WhisperEngine, recording: Recording) -> None:
    audio = recording("speech/en/jfk.flac")
    shouted = base.transcribe(audio, ENGLISH, Follow("FELLOW AMERICANS, ASK NOT WHAT. WE SHALL PAY ANY PRICE."))
    endless = base.transcribe(audio, ENGLISH, Follow("more than it remembers " * 200))

    assert "ASK NOT" in shouted.text
    assert "ASK NOT" not in base.transcribe(audio, ENGLISH, Follow()).text
    assert error_rate((DATA / "speech/en/jfk.txt").read_text(), endless) <= 0.2


def test_following_tells_the_language_and_hears_no_words_in_noise(base: WhisperEngine, recording: Recording) -> None:
    portuguese = base.transcribe(recording("speech/pt/fleurs-pt-000.ogg").cut(0, 64_000), None, Follow())
    noise = base.transcribe(recording("nonspeech/leopard_noise.wav").cut(0, 80_000), None, Follow())

    assert portuguese.language == "pt"
    assert portuguese.language_probability > 0.8
    assert not noise.words or max(word.probability for word in noise.words) < 0.5
