"""The encoder half of a Bergamot student, run by CTranslate2."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import ctranslate2
import numpy as np
from ctranslate2.converters.marian import set_transformer_encoder
from ctranslate2.specs import common_spec, transformer_spec
from numpy.typing import NDArray

from octavia_stream.errors import EngineUnavailable, ModelCorrupt
from octavia_stream.mt.marian_architecture import MarianArchitecture, sinusoidal_positions

Floats = NDArray[np.float32]

CONVERTER_VERSION = f"1-ct2-{ctranslate2.__version__}"
"""Part of a cached conversion's name: change the number when what is written changes."""

_POSITIONS = 1024


def convert_encoder(
    weights: Mapping[str, Floats],
    architecture: MarianArchitecture,
    vocabulary: Sequence[str],
    directory: Path,
    quantise: bool,
) -> None:
    """Write the encoder as a CTranslate2 model. quantise: store int8, else float32.

    Raises ModelCorrupt when weights are missing or of the wrong shape.
    """
    spec = transformer_spec.TransformerEncoderModelSpec(
        transformer_spec.TransformerEncoderSpec(
            architecture.encoder_layers,
            architecture.heads,
            pre_norm=False,
            activation=common_spec.Activation.RELU,
        )
    )
    named = {name: weights[name] for name in weights if name == "Wemb" or name.startswith("encoder_")}
    named["Wpos"] = sinusoidal_positions(_POSITIONS, architecture.dim)
    try:
        set_transformer_encoder(spec.encoder, named, "encoder")
        # CTranslate2 wants a name for every row of the embedding.
        rows = spec.encoder.embeddings[0].weight.shape[0]
        spec.register_vocabulary([*vocabulary, *(f"<unused {i}>" for i in range(len(vocabulary), rows))])
        spec.validate()
    except (KeyError, ValueError, AttributeError) as error:
        raise ModelCorrupt("The translation model's encoder is not whole; install the model again.") from error
    spec.optimize(quantization="int8" if quantise else None)
    spec.save(str(directory))


class BergamotEncoder:
    """Source pieces to vectors."""

    def __init__(self, directory: Path, *, device: str, compute_type: str, threads: int) -> None:
        """Raises ModelCorrupt when the converted model does not load."""
        try:
            self._encoder = ctranslate2.Encoder(
                str(directory), device=device, compute_type=compute_type, inter_threads=1, intra_threads=threads
            )
        except (RuntimeError, ValueError) as error:
            raise ModelCorrupt(f"The translation model does not load on {device} as {compute_type}.") from error

    def encode(self, sentences: Sequence[Sequence[int]]) -> Floats:
        """Shape (sentences, longest sentence, dim); what lies past a sentence's end means nothing.

        Raises EngineUnavailable when the device fails, which is mostly for want of memory.
        """
        try:
            hidden = self._encoder.forward_batch([list(pieces) for pieces in sentences]).last_hidden_state
            vectors = hidden.to_device(ctranslate2.Device.cpu).to(ctranslate2.DataType.float32)
        except RuntimeError as error:
            raise EngineUnavailable("The translation engine failed while reading a sentence; retry.") from error
        return np.array(vectors)
