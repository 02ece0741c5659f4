"""The voice vectors that come with the package."""

import json

import numpy as np
import pytest

from octavia_stream.models.catalogue import read_catalogue
from octavia_stream.tts.kokoro import PACKAGED_VOICES

SPEAKERS = sorted(path.stem for path in PACKAGED_VOICES.glob("*.npy"))


@pytest.mark.parametrize("speaker", SPEAKERS)
def test_a_voice_has_a_finite_row_for_every_length(speaker: str) -> None:
    vector = np.load(PACKAGED_VOICES / f"{speaker}.npy", allow_pickle=False)
    assert vector.shape == (510, 256)
    assert vector.dtype == np.float16
    assert np.isfinite(vector).all()


def test_every_kokoro_voice_of_the_catalogue_is_packaged() -> None:
    named = {voice.speaker for voice in read_catalogue().voices if voice.model == "kokoro-int8"}
    assert named <= set(SPEAKERS)


def test_the_vocabulary_is_whole() -> None:
    vocabulary = json.loads((PACKAGED_VOICES / "vocabulary.json").read_text("utf-8"))
    assert len(vocabulary) == len(set(vocabulary.values())) == 114
    assert max(vocabulary.values()) < 178  # rows of the model's embedding


def test_their_source_and_licence_are_named_beside_them() -> None:
    notice = (PACKAGED_VOICES / "NOTICE").read_text("utf-8")
    assert "Apache License" in notice
    assert all(speaker in notice for speaker in SPEAKERS)
