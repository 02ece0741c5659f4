"""Cast: whose voice is whose, for as long as a session lasts."""

from collections.abc import Mapping, Sequence

from octavia_stream.languages import Language
from octavia_stream.live.options import LiveTarget
from octavia_stream.live.voices import VoiceChooser
from octavia_stream.tts.voice import Voice


class Cast:
    """Everybody in a room speaks with a voice of their own, as far as there are voices."""

    def __init__(
        self, targets: Sequence[LiveTarget], choose: VoiceChooser, before: Mapping[str, Mapping[str, str]]
    ) -> None:
        """before: speaker → target language → id of the voice they had."""
        self._wanted = {target.language: target.voice for target in targets}
        self._choose = choose
        self._ids = {speaker: dict(voices) for speaker, voices in before.items()}
        self._first = next(iter(before), None)
        self._voices: dict[tuple[str, Language], Voice] = {}

    def join(self, speaker: str) -> None:
        """Somebody came. The voices that were asked for are the first one's."""
        self._first = self._first or speaker
        self._ids.setdefault(speaker, {})

    def voice(self, speaker: str, language: Language) -> Voice:
        """Their voice. Raises UnsupportedLanguage when nobody speaks the language."""
        found = self._voices.get((speaker, language))
        if found is None:
            had = self._ids.setdefault(speaker, {}).get(language)
            asked = self._wanted.get(language)
            taken = {ids[language] for other, ids in self._ids.items() if other != speaker and language in ids}
            if speaker != self._first and asked is not None:
                taken.add(asked)
            wanted = had or (asked if speaker == self._first else None)
            found = self._voices[speaker, language] = self._choose(language, wanted, taken)
            self._ids[speaker][language] = found.id
        return found

    def ids(self, speaker: str) -> dict[str, str]:
        """Target language → voice."""
        return dict(self._ids.get(speaker, {}))
