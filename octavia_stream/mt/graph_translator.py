"""Translation between any two languages that the installed models connect."""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from octavia_stream.errors import ModelCorrupt
from octavia_stream.languages import Language
from octavia_stream.models.catalogue import Pair
from octavia_stream.models.registry import ResolvedModel
from octavia_stream.mt.bergamot import BergamotEngine
from octavia_stream.mt.clauses import as_they_are
from octavia_stream.mt.ctranslate2_translator import CTranslate2Engine, tokenization_of
from octavia_stream.mt.routes import Hop, plan_route
from octavia_stream.mt.translator import Translation

MAX_LOADED = 4
"""Models kept in memory; the one unused for longest goes first."""


class ModelSource(Protocol):
    """What is needed of `models.registry.Registry`."""

    @property
    def cache_dir(self) -> Path: ...

    def resolve(self, model_id: str) -> ResolvedModel: ...

    def mt_pairs(self) -> Mapping[Pair, str]: ...


class _Engine(Protocol):
    def translate(
        self, sentences: Sequence[str], source: Language, target: Language, hypotheses: int = 1
    ) -> list[Translation]: ...


class GraphTranslator:
    """Loads models when a sentence first needs them. May be called from several threads."""

    def __init__(
        self, registry: ModelSource, *, device: str = "cpu", compute_type: str = "int8", threads: int = 1
    ) -> None:
        self._registry = registry
        self._device = device
        self._compute_type = compute_type
        self._threads = threads
        self._engines: OrderedDict[str, _Engine] = OrderedDict()
        self._lock = threading.Lock()

    def translate(
        self, sentences: Sequence[str], source: Language, target: Language, hypotheses: int = 1
    ) -> list[Translation]:
        """Translate whole sentences, one result each, in order.

        Through a pivot the best translation goes on, and only the last hop looks for alternatives; scores are of the
        last hop. The same language twice gives the sentences back.
        Raises UnsupportedLanguage (no path), ModelMissing, ModelCorrupt, EngineUnavailable (a retry helps).
        """
        hops = plan_route(source, target, self._registry.mt_pairs(), asr_translates=False).hops
        if not hops:
            return [as_they_are(sentence) for sentence in sentences]
        texts = list(sentences)
        for hop in hops[:-1]:
            texts = [translation.best.text for translation in self._hop(hop, texts, 1)]
        results = self._hop(hops[-1], texts, hypotheses)
        return [Translation(sentence, result.hypotheses) for sentence, result in zip(sentences, results, strict=True)]

    def _hop(self, hop: Hop, texts: list[str], hypotheses: int) -> list[Translation]:
        return self._engine(hop.model_id).translate(texts, hop.source, hop.target, hypotheses)

    def _engine(self, model_id: str) -> _Engine:
        # Loading under the lock: two threads that want the same model must not load it twice.
        with self._lock:
            if model_id not in self._engines:
                self._engines[model_id] = self._load(self._registry.resolve(model_id))
                if len(self._engines) > MAX_LOADED:
                    self._engines.popitem(last=False)
            self._engines.move_to_end(model_id)
            return self._engines[model_id]

    def _load(self, model: ResolvedModel) -> _Engine:
        if model.entry.engine == "bergamot":
            engine = BergamotEngine(
                model.path,
                self._registry.cache_dir,
                device=self._device,
                compute_type=self._compute_type,
                threads=self._threads,
            )
            return _OneDirection(engine)
        if model.entry.engine == "ctranslate2":
            return CTranslate2Engine(
                model.path,
                tokenization_of(model.path, model.entry.options),
                device=self._device,
                compute_type=self._compute_type,
                threads=self._threads,
            )
        raise ModelCorrupt(
            f"The catalogue says {model.entry.id} is run by {model.entry.engine}, which cannot translate."
        )


class _OneDirection:
    """A model that knows one pair, behind the interface of those that must be told the languages."""

    def __init__(self, engine: BergamotEngine) -> None:
        self._engine = engine

    def translate(
        self, sentences: Sequence[str], source: Language, target: Language, hypotheses: int = 1
    ) -> list[Translation]:
        return self._engine.translate(sentences, hypotheses)
