"""Search for the best output: greedy, or with a beam when alternatives are wanted."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from octavia_stream.mt.ssru import Memory, SsruDecoder

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Output:
    """One way to say it."""

    pieces: tuple[tuple[int, int], ...]
    """Each target piece with the source position it looks at most; without the end of sentence."""
    score: float
    """Mean natural log-probability per piece, the end of sentence counted."""


@dataclass(frozen=True, slots=True)
class SpecialPieces:
    """Pieces that the search must know."""

    end: int
    unknown: int


def greedy_search(decoder: SsruDecoder, memory: Memory, limits: Sequence[int], special: SpecialPieces) -> list[Output]:
    """The likeliest piece at each step. limits: pieces each sentence may have at most. One output a sentence."""
    outputs: list[list[tuple[int, int]]] = [[] for _ in limits]
    scores = np.zeros(len(limits))
    active = np.arange(len(limits))
    rows = active
    state, previous = decoder.start(len(limits)), None
    for step in range(1, max(limits, default=0) + 1):
        logits, looks_at, state = decoder.step(state, previous, memory)
        _forbid(logits, special.unknown, memory)
        chosen = logits.argmax(-1)
        scores[active] += _chosen_log_probability(logits, chosen)
        previous = chosen if memory.candidates is None else memory.candidates[chosen]
        open_rows = []
        for row, (piece, source) in enumerate(zip(previous.tolist(), looks_at.tolist(), strict=True)):
            sentence = int(active[row])
            outputs[sentence].append((piece, source))
            if piece != special.end and step < limits[sentence]:
                open_rows.append(row)
        if not open_rows:
            break
        if len(open_rows) < len(active):
            rows = np.array(open_rows)
            active, previous = active[rows], previous[rows]
            state, memory = state.select(rows), memory.select(rows)
    return [
        Output(_without_end(pieces, special), float(score / max(len(pieces), 1)))
        for pieces, score in zip(outputs, scores, strict=True)
    ]


def beam_search(
    decoder: SsruDecoder, memory: Memory, limits: Sequence[int], special: SpecialPieces, beams: int
) -> list[list[Output]]:
    """The best outputs of each sentence, best first, at most `beams` of them.

    A sentence ends at its limit, or when as many outputs as beams are finished and none that is still open is likelier
    than the worst of them.
    """
    finished: list[list[Output]] = [[] for _ in limits]
    active = np.arange(len(limits))
    state, previous = decoder.start(len(limits) * beams), None
    totals = np.full((len(limits), beams), -np.inf)
    totals[:, 0] = 0.0
    pasts: list[list[tuple[tuple[int, int], ...]]] = [[()] * beams for _ in limits]
    for step in range(1, max(limits, default=0) + 1):
        logits, looks_at, state = decoder.step(state, previous, memory)
        _forbid(logits, special.unknown, memory)
        log_probabilities = _log_softmax(logits).reshape(len(active), beams, -1)
        expanded = totals[:, :, None] + log_probabilities
        open_rows, origins, pieces = [], [], []
        for row, sentence in enumerate(active.tolist()):
            sources = looks_at[row * beams : (row + 1) * beams]
            choice = _expand(expanded[row], pasts[row], sources, memory, special, step == limits[sentence])
            found = sorted(finished[sentence] + choice.finished, key=lambda output: -output.score)[:beams]
            finished[sentence] = found
            if step < limits[sentence] and (len(found) < beams or choice.totals[0] / step > found[-1].score):
                open_rows.append(row)
                totals[row], pasts[row] = choice.totals, choice.pasts
                origins.append(row * beams + choice.origins)
                pieces.append(choice.pieces)
        if not open_rows:
            break
        state, previous = state.select(np.concatenate(origins)), np.concatenate(pieces)
        if len(open_rows) < len(active):
            rows = np.array(open_rows)
            active, totals, memory = active[rows], totals[rows], memory.select(rows)
            pasts = [pasts[row] for row in open_rows]
    return finished


@dataclass(frozen=True, slots=True, eq=False)
class _Expansion:
    """The beams of one sentence after one more piece, and the outputs that ended with it."""

    finished: list[Output]
    totals: NDArray[np.float64]
    pasts: list[tuple[tuple[int, int], ...]]
    origins: Ids
    pieces: Ids


def _expand(
    scores: NDArray[np.float64],
    pasts: list[tuple[tuple[int, int], ...]],
    sources: Ids,
    memory: Memory,
    special: SpecialPieces,
    last: bool,
) -> _Expansion:
    """Continue the beams of one sentence. scores: shape (beams, columns). last: nothing may stay open."""
    beams, columns = scores.shape
    flat = scores.ravel()
    # Twice as many as beams: even if every beam ends, as many remain open.
    wanted = min(2 * beams, flat.size)
    best = np.argpartition(-flat, wanted - 1)[:wanted]
    best = best[np.argsort(-flat[best], kind="stable")]
    finished: list[Output] = []
    kept: list[tuple[float, int, int]] = []
    for rank, index in enumerate(best.tolist()):
        total, beam, column = float(flat[index]), index // columns, index % columns
        piece = column if memory.candidates is None else int(memory.candidates[column])
        past = pasts[beam]
        if not np.isfinite(total):
            continue
        if piece == special.end:
            # An end that is less likely than every open beam is no output, or stubs would crowd out sentences.
            if rank < beams or last:
                finished.append(Output(past, total / (len(past) + 1)))
        elif last:
            finished.append(Output((*past, (piece, int(sources[beam]))), total / (len(past) + 1)))
        elif len(kept) < beams:
            kept.append((total, beam, piece))
    kept += [(-np.inf, 0, special.end)] * (beams - len(kept))
    return _Expansion(
        finished,
        np.array([total for total, _, _ in kept]),
        [(*pasts[beam], (piece, int(sources[beam]))) for _, beam, piece in kept],
        np.array([beam for _, beam, _ in kept]),
        np.array([piece for _, _, piece in kept]),
    )


def _forbid(logits: Floats, piece: int, memory: Memory) -> None:
    """Let no row choose `piece`."""
    if memory.candidates is None:
        logits[:, piece] = -np.inf
        return
    column = int(np.searchsorted(memory.candidates, piece))
    if column < len(memory.candidates) and memory.candidates[column] == piece:
        logits[:, column] = -np.inf


def _log_softmax(logits: Floats) -> Floats:
    shifted: Floats = logits - logits.max(-1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(-1, keepdims=True))
    return shifted


def _chosen_log_probability(logits: Floats, chosen: Ids) -> Floats:
    top = np.take_along_axis(logits, chosen[:, None], -1)
    probability: Floats = -np.log(np.exp(logits - top).sum(-1))
    return probability


def _without_end(pieces: list[tuple[int, int]], special: SpecialPieces) -> tuple[tuple[int, int], ...]:
    return tuple(pieces[:-1] if pieces and pieces[-1][0] == special.end else pieces)
