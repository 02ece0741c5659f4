"""What a job says of words: how to translate them, which to leave, how to say them."""

from dataclasses import replace
from typing import Annotated

import msgspec

from octavia_stream.dubbing.digest import digest
from octavia_stream.dubbing.engines import Engines
from octavia_stream.dubbing.progress import Emit
from octavia_stream.events.event import Warned
from octavia_stream.languages import Language, parse_language
from octavia_stream.mt.glossary import GlossaryTranslator, Term, Terminology
from octavia_stream.tts.pronunciation import Pronouncing

MOST_ENTRIES = 500
"""Of each kind."""
_ONE_LINE = r"^[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*$"
Words = Annotated[str, msgspec.Meta(min_length=1, max_length=100, pattern=_ONE_LINE)]
Tag = Annotated[str, msgspec.Meta(min_length=2, max_length=35)]


class GlossaryTerm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A word or a phrase with its translation."""

    source: Words
    target: Words
    language: Tag | None = None
    """Into which language; None: into all."""


class Pronunciation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A word or a phrase and how to say it."""

    written: Words
    """As it stands in the translation."""
    spoken: Words
    """As somebody who reads the language aloud would have to see it."""
    language: Tag | None = None
    """In which language; None: in all."""


class Glossary(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Everything that a job says of words."""

    terms: Annotated[tuple[GlossaryTerm, ...], msgspec.Meta(max_length=MOST_ENTRIES)] = ()
    keep: Annotated[tuple[Words, ...], msgspec.Meta(max_length=MOST_ENTRIES)] = ()
    """What is not translated."""
    pronunciation: Annotated[tuple[Pronunciation, ...], msgspec.Meta(max_length=MOST_ENTRIES)] = ()

    def checked(self) -> "Glossary":
        """With languages as they are known here. Raises UnsupportedLanguage for a tag that is none."""
        return Glossary(
            tuple(msgspec.structs.replace(term, language=_reduced(term.language)) for term in self.terms),
            self.keep,
            tuple(msgspec.structs.replace(one, language=_reduced(one.language)) for one in self.pronunciation),
        )

    def translation_digest(self, target: Language) -> str:
        """What a translation depends on here; empty when on nothing."""
        pairs = [part for term in self._terms(target) for part in (term.source, term.target)]
        return digest(*pairs) if pairs else ""

    def speech_digest(self, target: Language) -> str:
        """What speech depends on here; empty when on nothing."""
        pairs = [part for pair in self._spoken(target).items() for part in pair]
        return digest(*pairs) if pairs else ""

    def over(self, engines: Engines, target: Language, emit: Emit) -> Engines:
        """The same engines, for one language and keeping to this; what cannot be kept is told as a warning."""
        terms, spoken = self._terms(target), self._spoken(target)

        def missed(term: Term) -> None:
            how = "left as it is" if term.kept else f"said as “{term.target}”"
            emit(Warned("glossary", f"“{term.source}” could not be {how} in every sentence."))

        if terms:
            engines = replace(engines, translator=GlossaryTranslator(engines.translator, Terminology(terms), missed))
        if spoken:
            engines = replace(engines, synthesizer=Pronouncing(engines.synthesizer, spoken))
        return engines

    def _terms(self, target: Language) -> list[Term]:
        """Those for a language by itself come before those for all."""
        fitting = [term for term in self.terms if term.language in {None, target}]
        fitting.sort(key=lambda term: term.language is None)
        return [*(Term(term.source, term.target) for term in fitting), *(Term(word, word) for word in self.keep)]

    def _spoken(self, target: Language) -> dict[str, str]:
        fitting = [one for one in self.pronunciation if one.language in {None, target}]
        fitting.sort(key=lambda one: one.language is not None)
        return {one.written: one.spoken for one in fitting}


NO_GLOSSARY = Glossary()


def _reduced(tag: str | None) -> Language | None:
    return parse_language(tag) if tag is not None else None
