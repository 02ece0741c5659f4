"""What a Marian student is made of, read from its own description; and what of it we can run."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from octavia_stream.errors import ModelCorrupt

# What the engine assumes: a post-norm transformer encoder and an SSRU decoder, as Bergamot and
# Firefox Translations train them. An option that a model does not mention has Marian's default, which fits.
_REQUIRED: Mapping[str, tuple[object, ...]] = {
    "type": ("transformer",),
    "transformer-decoder-autoreg": ("rnn",),
    "dec-cell": ("ssru",),
    "transformer-preprocess": ("", None),
    "transformer-postprocess": ("dan",),
    "transformer-postprocess-emb": ("d", "", None),
    "transformer-postprocess-top": ("", None),
    "transformer-ffn-activation": ("relu",),
    "transformer-ffn-depth": (2,),
    "transformer-no-projection": (False,),
    "transformer-rnn-projection": (False,),
    "transformer-train-position-embeddings": (False,),
    "transformer-tied-layers": ([], None),
    "transformer-pool": (False,),
    "layer-normalization": (False,),
    "lemma-dim-emb": (0,),
    "ulr": (False,),
    "right-left": (False,),
    "input-types": ([], None, ["sequence", "sequence"]),
}
_MENTIONED = ("type", "transformer-decoder-autoreg", "dec-cell")


@dataclass(frozen=True, slots=True)
class MarianArchitecture:
    """The sizes that its weights do not tell by their shapes."""

    encoder_layers: int
    decoder_layers: int
    heads: int
    dim: int
    source_vocabulary: int
    target_vocabulary: int


def marian_architecture(config: Mapping[str, object]) -> MarianArchitecture:
    """Read Marian's options (`special:model.yml`).

    Raises ModelCorrupt when the model is of another architecture.
    """
    for option, supported in _REQUIRED.items():
        value = config.get(option, supported[0])
        if value not in supported or (option in _MENTIONED and option not in config):
            raise ModelCorrupt(
                "This translation model is not a student of the Bergamot and Firefox Translations family "
                f"(its {option} is {config.get(option)!r}); install one that is, or name the engine it belongs to."
            )
    vocabularies = config.get("dim-vocabs")
    if not isinstance(vocabularies, list) or len(vocabularies) != 2:
        raise ModelCorrupt("The translation model does not say how large its two vocabularies are.")
    architecture = MarianArchitecture(
        encoder_layers=_count(config.get("enc-depth")),
        decoder_layers=_count(config.get("dec-depth")),
        heads=_count(config.get("transformer-heads")),
        dim=_count(config.get("dim-emb")),
        source_vocabulary=_count(vocabularies[0]),
        target_vocabulary=_count(vocabularies[1]),
    )
    if architecture.dim % architecture.heads:
        raise ModelCorrupt("The translation model's description of itself is damaged.")
    return architecture


def sinusoidal_positions(count: int, dim: int) -> NDArray[np.float32]:
    """Marian's position encodings, shape (count, dim): all sines, then all cosines (Vaswani et al. 2017)."""
    half = dim // 2
    rates = np.exp(np.arange(half) * -(np.log(1e4) / (half - 1)))
    angles = np.arange(count)[:, None] * rates[None, :]
    return np.concatenate([np.sin(angles), np.cos(angles)], 1).astype(np.float32)


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ModelCorrupt("The translation model's description of itself is damaged.")
    return value
