"""What the tests of media share."""

from pathlib import Path

import pytest

from octavia_stream.config import MediaSettings
from tests.media.studio import MakeMedia, Picture, Sound, write_media


@pytest.fixture
def settings() -> MediaSettings:
    return MediaSettings()


@pytest.fixture
def make_media(tmp_path: Path) -> MakeMedia:
    """make_media(name, *tracks, format=None, options=None) → path."""

    def make(
        name: str, *tracks: Sound | Picture, format: str | None = None, options: dict[str, str] | None = None
    ) -> Path:
        write_media(tmp_path / name, tracks, format, options or {})
        return tmp_path / name

    return make
