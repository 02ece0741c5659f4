"""Subtitles are translated once, whatever happens on the way."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from octavia_stream.captions.subtitle_file import SubtitleFile, read_subtitles
from octavia_stream.dubbing.checkpoints import Stage
from octavia_stream.dubbing.engines import Engines, local
from octavia_stream.dubbing.subtitle_translation import SubtitleRequest, translate_subtitles
from octavia_stream.dubbing.text_translation import BATCH_SENTENCES
from octavia_stream.events.event import JobEvent, Progress
from octavia_stream.languages import Language
from octavia_stream.mt.routes import plan_route
from octavia_stream.mt.translator import Translation
from octavia_stream.testing import Journal, ScriptedSynthesizer, ScriptedTranscriber, ScriptedTranslator

EN, PT, ES = Language("en"), Language("pt"), Language("es")
ROUTES = {target: plan_route(EN, target, {(EN, PT): "one", (EN, ES): "two"}) for target in (PT, ES)}
SENTENCES = 150


class KeptCheckpoints:
    """Keeps everything in memory."""

    def __init__(self) -> None:
        self.saved: dict[tuple[str, int, str], bytes] = {}

    async def load(self, stage: Stage, index: int, digest: str) -> bytes | None:
        return self.saved.get((stage, index, digest))

    async def begin(self, stage: Stage, index: int, digest: str) -> None:
        return None

    async def save(self, stage: Stage, index: int, digest: str, payload: bytes) -> None:
        self.saved[stage, index, digest] = payload


def subtitles() -> SubtitleFile:
    cues = (
        f"{i}\n00:{i // 60:02}:{i % 60:02},000 --> 00:{i // 60:02}:{i % 60:02},900\nSentence {i}.\n"
        for i in range(SENTENCES)
    )
    return read_subtitles("\n".join(cues).encode())


def request() -> SubtitleRequest:
    return SubtitleRequest(subtitles(), EN, ROUTES, {"translate": "a"})


def engines(translator: ScriptedTranslator) -> Engines:
    return local(ScriptedTranscriber(), translator, ScriptedSynthesizer())


async def test_every_sentence_is_translated_into_every_language_in_batches(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    told: list[JobEvent] = []
    translator = ScriptedTranslator(journal=journal.path)
    result = await translate_subtitles(request(), engines(translator), KeptCheckpoints(), told.append)
    assert result.sentences == SENTENCES
    assert {language: content.count(b": Sentence ") for language, content in result.files.items()} == {
        PT: SENTENCES,
        ES: SENTENCES,
    }
    assert max(len(call.items) for call in journal.read()) == BATCH_SENTENCES
    progress = [event for event in told if isinstance(event, Progress)]
    assert [event.percent for event in progress] == sorted(event.percent for event in progress)
    assert progress[-1].stages["translate"].done == 2 * SENTENCES


class BreakingTranslator(ScriptedTranslator):
    """Breaks at its fourth call, as a defect does."""

    calls = 0

    def translate(
        self, sentences: Sequence[str], source: Language, target: Language, hypotheses: int = 1
    ) -> list[Translation]:
        self.calls += 1
        if self.calls == 4:
            raise RuntimeError("broken")
        return super().translate(sentences, source, target, hypotheses)


async def test_what_was_translated_before_a_crash_is_not_translated_again(tmp_path: Path) -> None:
    checkpoints = KeptCheckpoints()
    with pytest.raises(ExceptionGroup):
        await translate_subtitles(request(), engines(BreakingTranslator()), checkpoints, lambda _: None)
    # Three calls ended before the one that broke; others were under way, and may have been kept before they were ended.
    kept = len(checkpoints.saved)
    batches = 2 * -(-SENTENCES // BATCH_SENTENCES)
    assert 3 <= kept < batches
    journal = Journal(tmp_path / "journal")
    resumed = await translate_subtitles(
        request(), engines(ScriptedTranslator(journal=journal.path)), checkpoints, lambda _: None
    )
    assert len(journal.read()) == batches - kept
    assert len(checkpoints.saved) == batches
    whole = await translate_subtitles(request(), engines(ScriptedTranslator()), KeptCheckpoints(), lambda _: None)
    assert resumed == whole
