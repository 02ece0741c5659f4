"""Models for the tests of voices.

The XTTS and VITS checkpoints have random weights and are written by Coqui's own code: noise for a voice, the real path.
"""

from pathlib import Path
from typing import Any

import pytest

from octavia_stream.tts.coqui import import_torch

XTTS_TAGS = "[STOP] [UNK] [SPACE] [START] [en] [pt] [es] [fr] [de] [it] [zh-cn]"


def write_vocabulary(path: Path) -> dict[str, int]:
    """A byte-pair vocabulary of letters alone."""
    from tokenizers import Tokenizer
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import Whitespace

    tags = XTTS_TAGS.split()
    letters = "abcdefghijklmnopqrstuvwxyzáàâãéêíóôõúç',.!?-"
    vocabulary = {token: index for index, token in enumerate([*tags, *letters])}
    tokenizer = Tokenizer(BPE(vocabulary, merges=[], unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.add_special_tokens(tags)
    tokenizer.save(str(path))
    return vocabulary


def write_xtts(directory: Path) -> None:
    """The smallest XTTS v2 its code allows: 93 MB, most of it the vocoder and the speaker encoder."""
    import torch
    from TTS.tts.configs.xtts_config import XttsArgs, XttsConfig
    from TTS.tts.models.xtts import Xtts

    vocabulary = write_vocabulary(directory / "vocab.json")
    width = 64
    arguments = XttsArgs(
        gpt_layers=2,
        gpt_n_model_channels=width,
        gpt_n_heads=4,
        decoder_input_dim=width,
        gpt_use_perceiver_resampler=True,
        gpt_num_audio_tokens=1026,
        gpt_start_audio_token=1024,
        gpt_stop_audio_token=1025,
        gpt_number_text_tokens=len(vocabulary),
        gpt_start_text_token=vocabulary["[START]"],
        gpt_stop_text_token=vocabulary["[STOP]"],
    )
    config = XttsConfig(model_args=arguments)
    torch.manual_seed(1)
    model = Xtts(config)
    torch.save({"model": model.state_dict()}, directory / "model.pth")
    config.save_json(str(directory / "config.json"))
    torch.save({"Tiny Speaker": _random_voice(torch, width)}, directory / "speakers_xtts.pth")


def _random_voice(torch: Any, width: int) -> dict[str, Any]:
    return {"gpt_cond_latent": torch.randn(1, 32, width), "speaker_embedding": torch.randn(1, 512, 1)}


def write_vits(directory: Path) -> None:
    """A VITS of 0.4 million parameters that reads letters."""
    import torch
    from TTS.tts.configs.shared_configs import CharactersConfig
    from TTS.tts.configs.vits_config import VitsArgs, VitsConfig
    from TTS.tts.models.vits import Vits

    arguments = VitsArgs(
        hidden_channels=32,
        hidden_channels_ffn_text_encoder=64,
        num_heads_text_encoder=2,
        num_layers_text_encoder=2,
        num_layers_flow=2,
        num_layers_posterior_encoder=2,
        upsample_initial_channel_decoder=32,
        resblock_type_decoder="2",
        resblock_kernel_sizes_decoder=[3],
        resblock_dilation_sizes_decoder=[[1, 2]],
        use_sdp=False,
        init_discriminator=False,
    )
    characters = CharactersConfig(
        characters_class="TTS.tts.models.vits.VitsCharacters",
        pad="_",
        characters="abcdefghijklmnopqrstuvwxyzáàâãéêíóôõúç",
        punctuations="!'(),-.:;? ",
        phonemes="",
    )
    config = VitsConfig(model_args=arguments, characters=characters, use_phonemes=False, text_cleaner="basic_cleaners")
    torch.manual_seed(1)
    model = Vits(config)
    torch.save({"model": model.state_dict()}, directory / "model.pth")
    config.save_json(str(directory / "config.json"))


@pytest.fixture(scope="session")
def xtts_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny XTTS."""
    import_torch(1)  # as an engine does before it imports Coqui
    directory = tmp_path_factory.mktemp("xtts")
    write_xtts(directory)
    return directory


@pytest.fixture(scope="session")
def vits_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny VITS."""
    import_torch(1)
    directory = tmp_path_factory.mktemp("vits")
    write_vits(directory)
    return directory
