"""The language graph: which way speech of one language becomes text of another.

Text pairs are edges; so is Whisper's own translation of anything it hears into English.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from octavia_stream.asr.transcriber import AsrTask
from octavia_stream.errors import UnsupportedLanguage
from octavia_stream.languages import Language, language_name

ENGLISH = Language("en")
MAX_HOPS = 2
"""Every hop loses meaning and costs a model; a third is worse than no translation."""

Pairs = Mapping[tuple[Language, Language], str]
"""Source and target → id of the model that translates one into the other."""


@dataclass(frozen=True, slots=True)
class Hop:
    """One translation of text."""

    source: Language
    target: Language
    model_id: str


@dataclass(frozen=True, slots=True)
class Route:
    """What to ask of speech recognition, and which translations follow."""

    asr_task: AsrTask
    text_source: Language
    """The language of the words that come out of speech recognition."""
    hops: tuple[Hop, ...]
    """In order, at most two; none when the words are already in the target language."""


def plan_route(source: Language, target: Language, pairs: Pairs, *, asr_translates: bool = True) -> Route:
    """The best way from speech in `source` to text in `target`.

    A direct pair, else two through English, else two through whatever connects them, else English from the speech
    itself and a pair from there. asr_translates: whether the ASR model can translate into English; False for text.
    Raises UnsupportedLanguage, naming the pair to install.
    """
    if source == target:
        return Route("transcribe", source, ())
    if hops := _shortest(source, target, pairs):
        return Route("transcribe", source, hops)
    if asr_translates:
        if target == ENGLISH:
            return Route("translate", ENGLISH, ())
        if (model_id := pairs.get((ENGLISH, target))) is not None:
            return Route("translate", ENGLISH, (Hop(ENGLISH, target, model_id),))
    raise UnsupportedLanguage(_missing(source, target, pairs, asr_translates))


def _shortest(source: Language, target: Language, pairs: Pairs) -> tuple[Hop, ...]:
    if (source, target) in pairs:
        return (Hop(source, target, pairs[source, target]),)
    between = {middle for origin, middle in pairs if origin == source and (middle, target) in pairs}
    if not between:
        return ()
    # English first: its pairs are the best trained; then by name, so that the answer is always the same.
    pivot = min(between, key=lambda language: (language != ENGLISH, language))
    return (Hop(source, pivot, pairs[source, pivot]), Hop(pivot, target, pairs[pivot, target]))


def _missing(source: Language, target: Language, pairs: Pairs, asr_translates: bool) -> str:
    wanted = f"{ENGLISH}→{target}" if asr_translates and source != ENGLISH else f"{source}→{target}"
    installed = ", ".join(f"{origin}→{goal}" for origin, goal in sorted(pairs)[:12]) or "none"
    more = f" and {len(pairs) - 12} more" if len(pairs) > 12 else ""
    return (
        f"Nothing installed translates {language_name(source)} into {language_name(target)}: "
        f"install a model for {wanted} (see `octavia models list`); installed pairs are {installed}{more}."
    )
