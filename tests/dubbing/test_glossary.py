"""A job's glossary reaches translation, speech and checkpoints, and never the subtitles' spelling."""

from pathlib import Path

import msgspec
import pytest

from octavia_stream.dubbing.checkpoints import Checkpoints
from octavia_stream.dubbing.engines import local
from octavia_stream.dubbing.glossary import Glossary, GlossaryTerm, Pronunciation
from octavia_stream.dubbing.once import Once
from octavia_stream.dubbing.progress import ProgressTracker
from octavia_stream.dubbing.text_translation import TextTranslation
from octavia_stream.errors import UnsupportedLanguage
from octavia_stream.events.event import JobEvent, Warned
from octavia_stream.languages import Language
from octavia_stream.mt.routes import plan_route
from octavia_stream.testing import Journal, ScriptedSynthesizer, ScriptedTranscriber, ScriptedTranslator
from octavia_stream.tts.voice import Voice
from tests.dubbing.test_corridor import KeptCheckpoints

EN, PT, DE = Language("en"), Language("pt"), Language("de")
GLOSSARY = Glossary(
    terms=(GlossaryTerm("fox", "raposa", "pt"), GlossaryTerm("fox", "Fuchs")),
    keep=("dog",),
    pronunciation=(Pronunciation("SQL", "siquel"), Pronunciation("SQL", "esse que ele", "pt")),
)


async def translated(
    texts: list[str],
    target: Language,
    glossary: Glossary,
    checkpoints: Checkpoints,
    journal: Path,
    told: list[JobEvent],
) -> list[str]:
    engines = local(ScriptedTranscriber(), ScriptedTranslator(journal=journal), ScriptedSynthesizer())
    progress = ProgressTracker(lambda _: None, 1, weights={"translate": 1.0})
    once = Once(checkpoints, 1)
    work = TextTranslation(engines, once, progress, "f", glossary, told.append, total=len(texts), length=1)
    return await work.translate(texts, plan_route(EN, target, {(EN, PT): "m", (EN, DE): "m"}), target)


async def test_each_language_has_its_own_terms_and_a_change_of_one_redoes_only_that(tmp_path: Path) -> None:
    journal, checkpoints, told = tmp_path / "journal", KeptCheckpoints(), list[JobEvent]()
    texts = ["the quick fox", "the lazy dog"]
    assert await translated(texts, PT, GLOSSARY, checkpoints, journal, told) == [
        "pt: the quick raposa",
        "pt: the lazy dog",
    ]
    assert await translated(texts, DE, GLOSSARY, checkpoints, journal, told) == [
        "de: the quick Fuchs",
        "de: the lazy dog",
    ]
    done = len(Journal(journal).read())
    other = msgspec.structs.replace(GLOSSARY, terms=(GlossaryTerm("fox", "vulpes", "pt"), GlossaryTerm("fox", "Fuchs")))
    await translated(texts, DE, other, checkpoints, journal, told)
    assert len(Journal(journal).read()) == done
    assert (await translated(texts, PT, other, checkpoints, journal, told))[0] == "pt: the quick vulpes"
    assert not told


async def test_what_cannot_be_said_as_asked_is_a_warning(tmp_path: Path) -> None:
    told: list[JobEvent] = []

    class Deaf(ScriptedTranslator):
        def translate(self, sentences, source, target, hypotheses=1):  # type: ignore[no-untyped-def]
            return super().translate(["tudo bem" for _ in sentences], source, target, hypotheses)

    engines = GLOSSARY.over(local(ScriptedTranscriber(), Deaf(), ScriptedSynthesizer()), PT, told.append)
    assert (await engines.translator.translate(["a fox"], EN, PT))[0].best.text == "pt: tudo bem"
    assert told == [Warned("glossary", "“fox” could not be said as “raposa” in every sentence.")]


async def test_pronunciation_changes_what_a_voice_reads(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    plain = local(ScriptedTranscriber(), ScriptedTranslator(), ScriptedSynthesizer(journal=journal))
    for language in (PT, DE):
        voice = Voice("scripted/voice", language, "neutral", "scripted")
        engines = GLOSSARY.over(plain, language, lambda _: None)
        await engines.synthesizer.synthesize("sql, SQLite and SQL.", voice)
    assert [call.items[0] for call in Journal(journal).read()] == [
        "esse que ele, SQLite and esse que ele.",
        "siquel, SQLite and siquel.",
    ]
    assert len({GLOSSARY.speech_digest(PT), GLOSSARY.speech_digest(DE), Glossary().speech_digest(PT)}) == 3
    assert Glossary().speech_digest(PT) == Glossary().translation_digest(PT) == ""


def test_languages_are_reduced_and_checked() -> None:
    checked = Glossary(terms=(GlossaryTerm("a", "b", "pt-BR"),)).checked()
    assert checked.terms[0].language == PT
    with pytest.raises(UnsupportedLanguage):
        Glossary(terms=(GlossaryTerm("a", "b", "klingon"),)).checked()
