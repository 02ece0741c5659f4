"""A subtitle file in other languages: sentences translated whole, and put back into their cues."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from octavia_stream.captions.subtitle_file import SubtitleFile
from octavia_stream.dubbing.checkpoints import Checkpoints, Stage
from octavia_stream.dubbing.cue_sentences import CueSentence, cue_sentences, new_texts, share_out
from octavia_stream.dubbing.engines import Engines
from octavia_stream.dubbing.glossary import NO_GLOSSARY, Glossary
from octavia_stream.dubbing.once import Once
from octavia_stream.dubbing.progress import Emit, ProgressTracker
from octavia_stream.dubbing.text_translation import TextTranslation
from octavia_stream.languages import Language
from octavia_stream.mt.routes import Route

WEIGHTS: dict[Stage, float] = {"translate": 1.0}


@dataclass(frozen=True, slots=True)
class SubtitleRequest:
    """What to translate, and into what."""

    file: SubtitleFile
    source_language: Language
    routes: Mapping[Language, Route]
    """For each target language the way from the file's."""
    fingerprints: Mapping[Stage, str]
    attempts: int = 3
    glossary: Glossary = NO_GLOSSARY


@dataclass(frozen=True, slots=True)
class TranslatedSubtitles:
    """The file's content in each language."""

    sentences: int
    files: dict[Language, bytes]


async def translate_subtitles(
    request: SubtitleRequest, engines: Engines, checkpoints: Checkpoints, emit: Emit
) -> TranslatedSubtitles:
    """Raises what the translator raises when asking again does not help."""
    file = request.file
    sentences = await asyncio.to_thread(cue_sentences, file.cues, request.source_language)
    total = len(sentences) * len(request.routes)
    progress = ProgressTracker(emit, total, weights=WEIGHTS)
    translation = TextTranslation(
        engines,
        Once(checkpoints, request.attempts),
        progress,
        request.fingerprints["translate"],
        request.glossary,
        emit,
        total=total,
        length=total,
    )
    files: dict[Language, bytes] = {}
    for target, route in request.routes.items():
        texts = await translation.translate([sentence.text for sentence in sentences], route, target)
        files[target] = await asyncio.to_thread(_written, file, sentences, texts, target)
    progress.ended("translate")
    return TranslatedSubtitles(len(sentences), files)


def _written(file: SubtitleFile, sentences: list[CueSentence], texts: list[str], target: Language) -> bytes:
    return file.rewritten(new_texts(file.cues, share_out(sentences, texts, target)), target)
