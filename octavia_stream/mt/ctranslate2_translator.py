"""Ordinary CTranslate2 translation models: OPUS-MT, quickmt, MADLAD-400, NLLB-200, M2M-100.

They differ in how text becomes tokens and how the target language is named; a `Tokenization` says so.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import ctranslate2

from octavia_stream.errors import EngineUnavailable, ModelCorrupt, UnsupportedLanguage
from octavia_stream.languages import Language, language_name
from octavia_stream.mt.clauses import distinct, translate_in_clauses
from octavia_stream.mt.flores import flores_code
from octavia_stream.mt.pieces import Pieces
from octavia_stream.mt.translator import Hypothesis, Translation

Family = Literal["opus-mt", "quickmt", "madlad", "nllb", "m2m100"]

BATCH_TOKENS = 2048
"""Source tokens computed at once, padding counted."""
MAX_PIECES = 200
"""Longer sentences are cut: the families were trained on sentences, the smallest with 256 positions."""
_LENGTH_FACTOR = 2
_FEWEST_TOKENS = 16
_BEAMS = 4
_END = "</s>"


@dataclass(frozen=True, slots=True)
class Tokenization:
    """How a model's text becomes tokens."""

    family: Family
    source_model: str
    """File name of the SentencePiece model of the source."""
    target_model: str
    """The same of the target; often the same file."""
    source_prefix: str = ""
    """A token before every source, such as `>>por<<` of OPUS-MT models with several targets."""


# The files that tell a family from its directory, the most telling first.
_LAYOUTS: tuple[tuple[Family, str, str], ...] = (
    ("opus-mt", "source.spm", "target.spm"),
    ("quickmt", "src.spm.model", "tgt.spm.model"),
    ("quickmt", "joint.spm.model", "joint.spm.model"),
    ("nllb", "sentencepiece.bpe.model", "sentencepiece.bpe.model"),
    ("madlad", "spiece.model", "spiece.model"),
    ("madlad", "sentencepiece.model", "sentencepiece.model"),
    ("madlad", "spm.model", "spm.model"),
)


def tokenization_of(model_dir: Path, options: Mapping[str, str] | None = None) -> Tokenization:
    """What the catalogue's options say, completed by what the directory's files tell.

    options: `family`, `source_spm`, `target_spm`, `source_prefix`, each optional.
    Raises ModelCorrupt when the files are of no known layout.
    """
    given = options or {}
    family = given.get("family")
    if family is not None and family not in get_args(Family):
        raise ModelCorrupt(f"The catalogue names the translation family {family!r}, which is not known.")
    for known, *files in _LAYOUTS:
        source, target = given.get("source_spm", files[0]), given.get("target_spm", files[1])
        if family not in (None, known) and not (family == "m2m100" and known == "nllb"):
            continue
        if (model_dir / source).is_file() and (model_dir / target).is_file():
            found: Family = "m2m100" if family == "m2m100" or _is_m2m100(known, model_dir) else known
            return Tokenization(found, source, target, given.get("source_prefix", ""))
    raise ModelCorrupt(
        "The translation model has no SentencePiece files of a known layout (OPUS-MT, quickmt, MADLAD, NLLB); "
        "install the model again."
    )


class CTranslate2Engine:
    """One model; which pairs it knows depends on the family. Thread-safe."""

    def __init__(
        self,
        model_dir: Path,
        tokenization: Tokenization,
        *,
        device: str = "cpu",
        compute_type: str = "int8",
        threads: int = 1,
    ) -> None:
        """Raises ModelCorrupt when the model does not load."""
        self._tokenization = tokenization
        self._source = Pieces(model_dir / tokenization.source_model)
        self._target = Pieces(model_dir / tokenization.target_model)
        self._languages = _language_tokens(model_dir)
        self._end = [] if _adds_end(model_dir) else [_END]
        try:
            self._translator = ctranslate2.Translator(
                str(model_dir), device=device, compute_type=compute_type, inter_threads=1, intra_threads=threads
            )
        except (RuntimeError, ValueError) as error:
            raise ModelCorrupt(
                f"The translation model does not load on {device} as {compute_type}; install the model again."
            ) from error

    def translate(
        self, sentences: Sequence[str], source: Language, target: Language, hypotheses: int = 1
    ) -> list[Translation]:
        """Translate sentences, one result each, in order.

        Raises UnsupportedLanguage when the model has no token for a language, EngineUnavailable when the device fails.
        """
        prefix, target_prefix = self._prefixes(source, target)
        return translate_in_clauses(
            sentences,
            lambda clauses: self._translate_clauses(clauses, prefix, target_prefix, hypotheses),
            lambda text: len(self._source.split(text)),
            MAX_PIECES,
        )

    def _prefixes(self, source: Language, target: Language) -> tuple[list[str], list[str]]:
        """Tokens before the source, and tokens that the target must start with."""
        match self._tokenization.family:
            case "madlad":
                return [self._language_token(f"<2{target}>", target)], []
            case "nllb":
                return [flores_code(source, self._languages)], [flores_code(target, self._languages)]
            case "m2m100":
                return (
                    [self._language_token(f"__{source}__", source)],
                    [self._language_token(f"__{target}__", target)],
                )
            case _:
                return [self._tokenization.source_prefix] if self._tokenization.source_prefix else [], []

    def _language_token(self, token: str, language: Language) -> str:
        if token not in self._languages:
            raise UnsupportedLanguage(
                f"This translation model does not know {language_name(language)}; install another."
            )
        return token

    def _translate_clauses(
        self, clauses: list[str], prefix: list[str], target_prefix: list[str], hypotheses: int
    ) -> list[tuple[Hypothesis, ...]]:
        sources = [[*prefix, *self._source.split(clause), *self._end] for clause in clauses]
        # One limit holds for a whole call, and a sentence must not depend on its neighbours: those with the same
        # limit go together.
        groups: dict[int, list[int]] = {}
        for index, source in enumerate(sources):
            groups.setdefault(longest_output(len(source)), []).append(index)
        results: list[tuple[Hypothesis, ...]] = [()] * len(sources)
        for limit, group in groups.items():
            outputs = self._search([sources[index] for index in group], target_prefix, hypotheses, limit)
            for index, output in zip(group, outputs, strict=True):
                results[index] = output
        return results

    def _search(
        self, sources: list[list[str]], target_prefix: list[str], hypotheses: int, limit: int
    ) -> list[tuple[Hypothesis, ...]]:
        try:
            results = self._translator.translate_batch(
                sources,
                target_prefix=[target_prefix] * len(sources) if target_prefix else None,
                max_batch_size=BATCH_TOKENS,
                batch_type="tokens",
                beam_size=max(_BEAMS, hypotheses),
                num_hypotheses=hypotheses,
                # Divides the score by the length, so that it is a mean per token.
                length_penalty=1,
                return_scores=True,
                max_input_length=0,
                max_decoding_length=limit,
            )
        except RuntimeError as error:
            raise EngineUnavailable("The translation engine failed while translating; retry.") from error
        skip = len(target_prefix)
        return [
            distinct(
                [
                    Hypothesis(self._text(tokens[skip:]), float(score))
                    for tokens, score in zip(result.hypotheses, result.scores, strict=True)
                ]
            )
            for result in results
        ]

    def _text(self, tokens: list[str]) -> str:
        return self._target.join([token for token in tokens if token not in ("<unk>", _END, "<pad>")]).strip()


def longest_output(source_tokens: int) -> int:
    """How many tokens a translation may have at most: two to four times the source's, the same for like lengths."""
    rounded = max(1 << (source_tokens - 1).bit_length(), _FEWEST_TOKENS)
    return rounded * _LENGTH_FACTOR


def _language_tokens(model_dir: Path) -> frozenset[str]:
    """Tokens of the model's vocabulary that name a language, in any family's way."""
    for name in ("shared_vocabulary", "source_vocabulary"):
        as_json, as_text = model_dir / f"{name}.json", model_dir / f"{name}.txt"
        if as_json.is_file():
            tokens = _read_json(as_json)
        elif as_text.is_file():
            tokens = as_text.read_text("utf-8").splitlines()
        else:
            continue
        if isinstance(tokens, list):
            return frozenset(token for token in tokens if isinstance(token, str) and _names_language(token))
    raise ModelCorrupt("The translation model has no vocabulary; install the model again.")


def _adds_end(model_dir: Path) -> bool:
    """Whether CTranslate2 itself puts the end of sentence after each source; converters differ."""
    path = model_dir / "config.json"
    config = _read_json(path) if path.is_file() else {}
    return isinstance(config, dict) and bool(config.get("add_source_eos"))


def _names_language(token: str) -> bool:
    return (
        (token.startswith("<2") and token.endswith(">"))
        or (token.startswith("__") and token.endswith("__"))
        or (len(token) == 8 and token[3] == "_" and token[:3].islower() and token[4:].istitle())
    )


def _is_m2m100(family: Family, model_dir: Path) -> bool:
    """Whether a directory that looks like NLLB's, from whose layout M2M-100 does not differ, is of the latter."""
    return family == "nllb" and "__en__" in _language_tokens(model_dir)


def _read_json(path: Path) -> object:
    try:
        value: object = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ModelCorrupt(f"The translation model's file {path.name} is damaged; install the model again.") from error
    return value
