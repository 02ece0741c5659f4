"""Settings survive the way to a child process."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from octavia_stream.config import (
    ApiSettings,
    LiveSettings,
    MailSettings,
    ServeSettings,
    Settings,
    ThreadedReplicaSettings,
)
from octavia_stream.launcher.environment import environment_of, foreign_environment
from octavia_stream.launcher.ray_node import cpus_needed


def test_a_child_reads_the_settings_it_was_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given = Settings(
        home=tmp_path,
        database_url=SecretStr("postgresql://localhost/one"),
        api=ApiSettings(port=1234, public_url="https://dub.example.org"),
        mail=MailSettings(host="mail.example.org", password=SecretStr("hidden")),
        serve=ServeSettings(tts=ThreadedReplicaSettings(min_replicas=3, max_replicas=3)),
    )
    base = {"PATH": "/bin", "OCTAVIA_API__PORT": "9", "OCTAVIA_HOME": "/elsewhere", "REDIS_URL": "redis://old"}

    environment = environment_of(given, base)

    for name in base:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert Settings() == given


def test_ray_is_told_no_secret_of_ours() -> None:
    base = {"PATH": "/bin", "DATABASE_URL": "postgresql://u:secret@h/d", "OCTAVIA_SECRET_KEY": "secret"}

    assert foreign_environment(base) == {"PATH": "/bin"}


def test_ray_counts_as_many_cpus_as_the_smallest_set_of_replicas_needs() -> None:
    """On a machine with one core Serve would wait for ever for a second."""
    greedy = ThreadedReplicaSettings(min_replicas=2, max_replicas=2, num_cpus=100.0)
    light = ThreadedReplicaSettings(num_cpus=0.1)

    assert cpus_needed(ServeSettings(asr=greedy, mt=light, tts=light, worker=light), LiveSettings(enabled=False)) == 201
