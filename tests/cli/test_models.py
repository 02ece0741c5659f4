"""`octavia models`, as a person sees it."""

from pathlib import Path

import pytest

from octavia_stream.cli.models import models_app
from octavia_stream.errors import ModelMissing, NotFound

pytestmark = pytest.mark.model


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OCTAVIA_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def run(*arguments: str) -> object:
    return models_app(arguments, result_action="return_value", exit_on_error=False)


def test_the_list_says_what_is_installed_and_what_may_be_sold(capsys: pytest.CaptureFixture[str]) -> None:
    run("list")

    lines = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert lines["whisper-base"][-1] == "yes"
    assert lines["whisper-large-v3"][-1] == "no"
    assert lines["bergamot-en-pt"][1:5] == ["mt", "en", "→", "pt"]
    assert "CPML-1.0.0" in lines["xtts-v2"]
    assert lines["xtts-v2"][-4] == "no", "commercial use"


def test_one_model_is_shown_with_its_licences_and_digest(capsys: pytest.CaptureFixture[str]) -> None:
    run("show", "kokoro-int8")

    shown = capsys.readouterr().out
    assert "Apache-2.0" in shown
    assert "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb" in shown
    assert "yes, from build:" in shown


def test_a_model_that_is_refused_says_how_to_allow_it(capsys: pytest.CaptureFixture[str]) -> None:
    run("show", "xtts-v2")

    assert "OCTAVIA_MODELS__ALLOW_NONCOMMERCIAL=true" in capsys.readouterr().out


def test_pull_joins_an_embedded_model(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("pull", "kokoro-int8")

    assert "kokoro-int8 is installed from build: (verified)." in capsys.readouterr().out
    assert list((home / "models").glob("kokoro-int8-*/kokoro.int8.onnx"))


def test_pull_of_a_model_that_nobody_publishes_says_what_to_run() -> None:
    with pytest.raises(ModelMissing, match="ct2-transformers-converter"):
        run("pull", "opus-mt-tc-big-en-pt")


def test_verify_finds_a_damaged_file(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("pull", "kokoro-int8")
    (model,) = (home / "models").glob("kokoro-int8-*/kokoro.int8.onnx")
    assert run("verify", "kokoro-int8") == 0
    with model.open("r+b") as file:
        file.seek(1_000_000)
        file.write(b"damage")

    assert run("verify", "kokoro-int8") == 1
    assert "damaged; run: octavia models pull kokoro-int8." in capsys.readouterr().out


def test_voices_of_a_language_are_listed_default_first(capsys: pytest.CaptureFixture[str]) -> None:
    run("voices", "pt-BR")

    rows = capsys.readouterr().out.splitlines()[1:]
    assert [row.split()[0] for row in rows if row.strip()] == ["kokoro/pf_dora", "kokoro/pm_alex"]


def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(NotFound, match="no model 'gpt'"):
        run("show", "gpt")
