"""What a dub is made of: decided once, read by every stage."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from octavia_stream.dubbing.checkpoints import Stage
from octavia_stream.dubbing.glossary import NO_GLOSSARY, Glossary
from octavia_stream.languages import Language
from octavia_stream.mt.routes import Route
from octavia_stream.tts.voice import Voice


@dataclass(frozen=True, slots=True)
class DubbingPlan:
    """What to make, and of what."""

    source_language: Language | None
    """None lets the first chunk with words decide."""
    target_language: Language
    voice: Voice
    route: Callable[[Language], Route]
    """How to get from a spoken language to the target. Raises UnsupportedLanguage."""
    fingerprints: Mapping[Stage, str]
    """Which models do each stage's work, for the digests of checkpoints."""
    attempts: int = 3
    keep_original: bool = False
    """Whether what no engine can do is left as the original sound; else it ends the dub."""
    chunks_in_flight: int = 4
    lines_in_flight: int = 8
    glossary: Glossary = NO_GLOSSARY
