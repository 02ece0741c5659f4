"""Other languages in a file than the one it begins in: how they are reached, and what is told of them."""

from collections.abc import Callable

from octavia_stream.asr.transcript import Transcript
from octavia_stream.audio.chunk import ASR_RATE_HZ
from octavia_stream.dubbing.progress import Emit
from octavia_stream.errors import UnsupportedLanguage
from octavia_stream.events.event import Warned
from octavia_stream.languages import Language, language_name
from octavia_stream.mt.routes import Route

CODE = "language_changed"


class Detours:
    """The routes to all targets, from whatever is spoken."""

    def __init__(
        self,
        find: Callable[[Language], tuple[Route, ...]],
        usual: Callable[[], tuple[Route, ...]],
        what: str,
        emit: Emit,
    ) -> None:
        """
        find: routes from a language to every target. Raises UnsupportedLanguage. usual: those from the first one.
        what: is made of the file, as a sentence calls it.
        """
        self._find = find
        self._usual = usual
        self._what = what
        self._emit = emit
        self._found: dict[Language, tuple[Route, ...] | None] = {}

    def follow(self, spoken: Language) -> bool:
        """Whether every target can be reached from there, too; when not, that is told once."""
        if spoken not in self._found:
            self._found[spoken] = routes = self._routes(spoken)
            if routes is None:
                name = language_name(spoken)
                self._emit(Warned(CODE, f"Some speech seems to be in {name}, from which {self._what} cannot be made."))
        return self._found[spoken] is not None

    def of(self, spoken: Language) -> tuple[Route, ...]:
        """The routes from a language that is followed; for any other those from the first."""
        return self._found.get(spoken) or self._usual()

    def _routes(self, spoken: Language) -> tuple[Route, ...] | None:
        try:
            routes = self._find(spoken)
        except UnsupportedLanguage:
            return None
        # What recognition itself translates comes as English sentences, which English speech is not told from.
        return routes if all(route.asr_task == "transcribe" for route in (*routes, *self._usual())) else None


def change_to(transcript: Transcript) -> Warned:
    """The news that another language is spoken from these words on."""
    at_s = transcript.words[0].start / ASR_RATE_HZ
    return Warned(CODE, f"From {at_s:.1f} s on, {language_name(transcript.language)} is spoken.")
