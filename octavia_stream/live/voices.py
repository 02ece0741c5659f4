"""Which voice speaks for whom."""

from collections.abc import Collection, Sequence
from typing import Protocol

from octavia_stream.languages import Language
from octavia_stream.tts.voice import Voice


class VoiceChooser(Protocol):
    """Finds a voice for a speaker."""

    def __call__(self, language: Language, wanted: str | None, taken: Collection[str]) -> Voice:
        """The voice wanted, or one that speaks the language and is not among those taken, if there is one.

        taken: ids of voices that speak for others in the room.
        Raises UnsupportedLanguage when there is none at all.
        """
        ...


class InstalledVoices(Protocol):
    """The part of the registry that is used here."""

    def voices(self, language: Language | None = None) -> list[Voice]:
        """Voices of a language, its default first."""
        ...

    def choose_voice(self, language: Language, voice_id: str | None = None) -> Voice:
        """Raises UnsupportedLanguage."""
        ...


class CatalogueVoices:
    """A `VoiceChooser` over the installed voices."""

    def __init__(self, installed: InstalledVoices) -> None:
        self._installed = installed

    def __call__(self, language: Language, wanted: str | None, taken: Collection[str]) -> Voice:
        if wanted is not None:
            return self._installed.choose_voice(language, wanted)
        default = self._installed.choose_voice(language)
        return _another([default, *self._installed.voices(language)], taken)


def _another(voices: Sequence[Voice], taken: Collection[str]) -> Voice:
    """The first that nobody has, else the default."""
    return next((voice for voice in voices if voice.id not in taken), voices[0])
