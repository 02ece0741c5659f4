"""Settings come from the environment, one variable a field, and cannot be changed afterwards."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from octavia_stream.config import Settings


def test_one_variable_changes_one_field_and_leaves_the_others_at_their_defaults(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    default = Settings()
    monkeypatch.setenv("OCTAVIA_SERVE__TTS__NUM_GPUS", "0.25")
    changed = Settings()
    assert changed.serve.tts.num_gpus == 0.25
    assert changed.serve.tts.model_copy(update={"num_gpus": default.serve.tts.num_gpus}) == default.serve.tts
    assert changed.serve.asr == default.serve.asr


def test_services_keep_the_names_that_everybody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://somewhere/octavia")
    url = Settings().database_url
    assert url is not None
    assert url.get_secret_value() == "postgresql://somewhere/octavia"
    assert "somewhere" not in repr(Settings())


def test_a_setting_that_is_not_valid_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCTAVIA_API__PORT", "many")
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert caught.value.errors()[0]["loc"] == ("api", "port")


def test_settings_cannot_be_changed(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    with pytest.raises(ValidationError):
        settings.home = tmp_path / "other"
