"""The catalogue: which models and voices exist, as frozen values read from `catalogue.toml`."""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import permutations
from typing import Literal

import msgspec

from octavia_stream.errors import NotFound
from octavia_stream.languages import Language
from octavia_stream.tts.voice import Gender, Voice

ModelTask = Literal["asr", "mt", "tts", "vad"]
EngineName = Literal[
    "faster-whisper", "ctranslate2", "bergamot", "kokoro", "hibari", "coqui-xtts", "coqui-vits", "silero"
]

Pair = tuple[Language, Language]
"""Source and target of a translation."""


class ModelEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model. `catalogue.toml` explains the forms of `sources`."""

    id: str
    task: ModelTask
    engine: EngineName
    languages: tuple[str, ...] = ()
    """ASR: what it hears. TTS: what it speaks. MT: it translates each into each."""
    pairs: tuple[tuple[str, str], ...] = ()
    """MT only: source and target, when it knows only some directions."""
    translates: bool = True
    """ASR only: whether a multilingual model can translate into English."""
    sources: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    """Requirements for pip that bring the model, or the engine it needs."""
    requires: tuple[str, ...] = ()
    """Import names of optional packages without which its engine cannot run."""
    install: str = ""
    """A command to run by hand, where nothing publishes the model ready to use."""
    remote: tuple[str, ...] = ()
    """Files to fetch below an object store prefix; a name in .gz is unpacked."""
    build: dict[str, tuple[str, ...]] = {}
    """File → parts to join, each `import_name/path/in/package`."""
    sha256: dict[str, str] = {}
    """File → digest. Empty: the model cannot be verified."""
    size_bytes: int
    sample_rate_hz: int | None = None
    licence_code: str
    licence_weights: str
    commercial: bool
    """Whether the licence of the weights allows commercial use."""
    embedded: bool = False
    """Comes from Python packages alone."""
    note: str = ""
    options: dict[str, str] = {}
    """What the engine must know about this model's files."""

    def directions(self) -> tuple[Pair, ...]:
        """Every direct pair an MT model translates."""
        if self.task != "mt":
            return ()
        if self.pairs:
            return tuple((Language(source), Language(target)) for source, target in self.pairs)
        return tuple((Language(source), Language(target)) for source, target in permutations(self.languages, 2))


class _VoiceRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: str
    languages: tuple[str, ...]
    gender: Gender
    model: str
    speaker: str = ""
    characters_per_second: float = 14.0

    def voices(self) -> Iterable[Voice]:
        for language in self.languages:
            yield Voice(
                id=self.id.format(language=language),
                language=Language(language),
                gender=self.gender,
                model=self.model,
                speaker=self.speaker,
                characters_per_second=self.characters_per_second,
            )


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    language_sets: dict[str, tuple[str, ...]]
    model: tuple[ModelEntry, ...]
    voice: tuple[_VoiceRow, ...]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All models by id and all voices, in the order of preference."""

    models: Mapping[str, ModelEntry]
    voices: Sequence[Voice]

    def model(self, model_id: str) -> ModelEntry:
        """Raises NotFound, naming the models there are."""
        entry = self.models.get(model_id)
        if entry is None:
            raise NotFound(f"There is no model {model_id!r}; the catalogue has {', '.join(self.models)}.")
        return entry


def read_catalogue(text: str | None = None) -> Catalogue:
    """Parse the catalogue, by default the one in the package.

    Raises msgspec.ValidationError or tomllib.TOMLDecodeError on a mistake in it.
    """
    if text is None:
        text = resources.files("octavia_stream.models").joinpath("catalogue.toml").read_text("utf-8")
    document = msgspec.convert(tomllib.loads(text), _Document)
    sets = document.language_sets
    models = {
        entry.id: msgspec.structs.replace(entry, languages=_expand(entry.languages, sets)) for entry in document.model
    }
    rows = [msgspec.structs.replace(row, languages=_expand(row.languages, sets)) for row in document.voice]
    return Catalogue(models, tuple(voice for row in rows for voice in row.voices()))


def _expand(languages: Iterable[str], sets: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Replace `@name` by the set of that name."""
    return tuple(language for item in languages for language in (sets[item[1:]] if item.startswith("@") else [item]))
