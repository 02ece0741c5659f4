"""The SSRU decoder of Marian's students, in NumPy.

A Simpler Simple Recurrent Unit (Kim et al. 2019, "From Research to Production and Back") keeps one vector per layer
and sentence instead of all past keys and values, so a step costs the same however long the output is. CTranslate2 has
no such layer; a decoder of two or so of them is cheap enough here.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from octavia_stream.errors import ModelCorrupt
from octavia_stream.mt.marian_architecture import MarianArchitecture, sinusoidal_positions

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]

_EPSILON = np.float32(1e-6)
_MASKED = np.float32(-1e9)
_MAX_STEPS = 1024


@dataclass(frozen=True, slots=True, eq=False)
class _Norm:
    scale: Floats
    bias: Floats

    def __call__(self, x: Floats) -> Floats:
        centred = x - x.mean(-1, keepdims=True)
        variance = np.einsum("...i,...i->...", centred, centred)[..., None] / np.float32(x.shape[-1])
        normed: Floats = centred / np.sqrt(variance + _EPSILON) * self.scale + self.bias
        return normed


@dataclass(frozen=True, slots=True, eq=False)
class _Linear:
    weight: Floats
    """Shape (inputs, outputs)."""
    bias: Floats

    def __call__(self, x: Floats) -> Floats:
        y: Floats = x @ self.weight
        y += self.bias
        return y


@dataclass(frozen=True, slots=True, eq=False)
class _Layer:
    recurrence: _Linear
    """Candidate and forget gate side by side: (dim, 2 × dim)."""
    recurrence_norm: _Norm
    query: _Linear
    key: _Linear
    value: _Linear
    attended: _Linear
    attention_norm: _Norm
    widen: _Linear
    narrow: _Linear
    feed_forward_norm: _Norm


@dataclass(frozen=True, slots=True, eq=False)
class Memory:
    """What the decoder looks at: the encoded sentences, and the target pieces they may use."""

    keys: tuple[Floats, ...]
    """Per layer, shape (sentences, heads, dim of a head, source positions)."""
    values: tuple[Floats, ...]
    """Per layer, shape (sentences, heads, source positions, dim of a head)."""
    mask: Floats
    """Added to attention scores; shape (sentences, 1, 1, source positions)."""
    candidates: Ids | None
    """Target pieces that the columns of the scores stand for; None for all of them in order."""
    penalty: Floats | None
    """Added to scores: minus infinity where a sentence may not use a column; shape (sentences, 1, columns)."""
    projection: Floats
    """Shape (columns, dim)."""
    projection_bias: Floats

    def select(self, sentences: Ids) -> "Memory":
        """Keep these sentences only."""
        return Memory(
            tuple(layer[sentences] for layer in self.keys),
            tuple(layer[sentences] for layer in self.values),
            self.mask[sentences],
            self.candidates,
            None if self.penalty is None else self.penalty[sentences],
            self.projection,
            self.projection_bias,
        )


@dataclass(frozen=True, slots=True, eq=False)
class DecoderState:
    """All that is remembered of the output so far: one vector per layer and row."""

    cells: tuple[Floats, ...]
    """Per layer, shape (rows, dim)."""
    position: int

    def select(self, rows: Ids) -> "DecoderState":
        """Keep these rows, in this order; a row may be taken twice."""
        return DecoderState(tuple(cell[rows] for cell in self.cells), self.position)


class SsruDecoder:
    """Scores the next target piece. Rows are sentences times beams, the beams of a sentence side by side."""

    def __init__(self, weights: Mapping[str, Floats], architecture: MarianArchitecture) -> None:
        try:
            self._layers = tuple(_layer(weights, f"decoder_l{i + 1}") for i in range(architecture.decoder_layers))
            self._embedding = weights["Wemb" if "Wemb" in weights else "decoder_Wemb"]
            self._projection = _projection(weights, self._embedding)
            bias = weights.get("decoder_ff_logit_out_b")
        except KeyError as error:
            raise ModelCorrupt(
                f"The translation model has no weights named {error}; install the model again."
            ) from None
        self._projection_bias = np.zeros(len(self._projection), np.float32) if bias is None else bias.ravel()
        self._heads = architecture.heads
        self._dim = self._embedding.shape[1]
        self._positions = sinusoidal_positions(_MAX_STEPS, self._dim)

    @property
    def max_steps(self) -> int:
        """The longest output it has positions for, in pieces."""
        return len(self._positions)

    @property
    def vocabulary_size(self) -> int:
        return len(self._projection)

    def memory(self, encoded: Floats, lengths: Ids, candidates: list[Ids] | None) -> Memory:
        """Prepare encoded sentences for decoding.

        encoded: shape (sentences, source positions, dim); positions at or past `lengths` are padding.
        candidates: target pieces each sentence may use, ascending; None lets it use all.
        """
        keys, values = [], []
        for layer in self._layers:
            keys.append(np.ascontiguousarray(self._split(layer.key(encoded)).swapaxes(-1, -2)))
            values.append(np.ascontiguousarray(self._split(layer.value(encoded))))
        padding = np.arange(encoded.shape[1])[None, :] >= lengths[:, None]
        mask = np.where(padding, _MASKED, np.float32(0))[:, None, None, :]
        if candidates is None:
            return Memory(tuple(keys), tuple(values), mask, None, None, self._projection, self._projection_bias)
        union = np.unique(np.concatenate(candidates))
        # A sentence keeps to its own candidates, so that its translation does not depend on its neighbours.
        penalty = np.full((len(candidates), 1, len(union)), -np.inf, np.float32)
        for sentence, own in enumerate(candidates):
            penalty[sentence, 0, np.searchsorted(union, own)] = 0
        return Memory(
            tuple(keys), tuple(values), mask, union, penalty, self._projection[union], self._projection_bias[union]
        )

    def start(self, rows: int) -> DecoderState:
        """The state before the first piece."""
        return DecoderState(tuple(np.zeros((rows, self._dim), np.float32) for _ in self._layers), 0)

    def step(self, state: DecoderState, previous: Ids | None, memory: Memory) -> tuple[Floats, Ids, DecoderState]:
        """Score the next piece of every row.

        previous: the pieces chosen last, shape (rows,), as ids; None at the first step.
        Returns logits of shape (rows, columns of the memory), the source position that each row looks at most,
        shape (rows,), and the next state.
        """
        rows = len(state.cells[0])
        x = np.zeros((rows, self._dim), np.float32)
        if previous is not None:
            x += self._embedding[previous] * np.float32(np.sqrt(self._dim))
        x += self._positions[state.position]
        cells: list[Floats] = []
        looks_at = np.zeros(rows, np.int64)
        for index, layer in enumerate(self._layers):
            x, cell = _recur(layer, x, state.cells[index])
            cells.append(cell)
            attended, looks_at = self._attend(layer.query(x), memory, index)
            x = layer.attention_norm(x + layer.attended(attended))
            x = layer.feed_forward_norm(x + layer.narrow(np.maximum(layer.widen(x), 0)))
        logits: Floats = x @ memory.projection.T
        logits += memory.projection_bias
        if memory.penalty is not None:
            by_sentence = logits.reshape(len(memory.penalty), -1, logits.shape[1])
            by_sentence += memory.penalty
        return logits, looks_at, DecoderState(tuple(cells), state.position + 1)

    def _split(self, x: Floats) -> Floats:
        """(sentences, positions, dim) → (sentences, heads, positions, dim of a head)."""
        sentences, positions, _ = x.shape
        return x.reshape(sentences, positions, self._heads, -1).swapaxes(1, 2)

    def _attend(self, query: Floats, memory: Memory, index: int) -> tuple[Floats, Ids]:
        sentences = len(memory.mask)
        queries = self._split(query.reshape(sentences, -1, self._dim))
        scores: Floats = queries @ memory.keys[index]
        scores *= np.float32(1 / np.sqrt(self._dim // self._heads))
        scores += memory.mask
        scores -= scores.max(-1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(-1, keepdims=True)
        # Marian trains the first head of the last layer to follow a word alignment.
        looks_at = scores[:, 0].argmax(-1).ravel()
        return (scores @ memory.values[index]).swapaxes(1, 2).reshape(len(query), self._dim), looks_at


def _recur(layer: _Layer, x: Floats, cell: Floats) -> tuple[Floats, Floats]:
    both = layer.recurrence(x)
    candidate, gate = both[:, : x.shape[1]], both[:, x.shape[1] :]
    forget = np.float32(1) / (np.float32(1) + np.exp(-np.clip(gate, -80, 80)))
    cell = np.asarray(candidate + forget * (cell - candidate), np.float32)
    return layer.recurrence_norm(x + np.maximum(cell, 0)), cell


def _layer(weights: Mapping[str, Floats], name: str) -> _Layer:
    def linear(scope: str, suffix: str) -> _Linear:
        return _Linear(weights[f"{name}_{scope}_W{suffix}"], weights[f"{name}_{scope}_b{suffix}"].ravel())

    def norm(scope: str) -> _Norm:
        return _Norm(weights[f"{name}_{scope}_ln_scale"].ravel(), weights[f"{name}_{scope}_ln_bias"].ravel())

    candidate, gate = weights[f"{name}_rnn_W"], weights[f"{name}_rnn_Wf"]
    gate_bias = weights[f"{name}_rnn_bf"].ravel()
    return _Layer(
        recurrence=_Linear(np.concatenate([candidate, gate], 1), np.concatenate([np.zeros_like(gate_bias), gate_bias])),
        recurrence_norm=norm("rnn_ffn"),
        query=linear("context", "q"),
        key=linear("context", "k"),
        value=linear("context", "v"),
        attended=linear("context", "o"),
        attention_norm=norm("context_Wo"),
        widen=linear("ffn", "1"),
        narrow=linear("ffn", "2"),
        feed_forward_norm=norm("ffn_ffn"),
    )


def _projection(weights: Mapping[str, Floats], embedding: Floats) -> Floats:
    """The output matrix, shape (vocabulary, dim): the embedding itself unless the model has one of its own."""
    untied = weights.get("decoder_ff_logit_out_W")
    return embedding if untied is None else np.ascontiguousarray(untied.T)
