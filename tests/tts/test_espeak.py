"""espeak-ng in processes of its own."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from octavia_stream.errors import EngineUnavailable, ModelMissing, UnsupportedLanguage
from octavia_stream.tts import espeak
from octavia_stream.tts.espeak import EspeakChild, EspeakProgram, Phonemizer, find_espeak, open_espeak, split_clauses

pytestmark = pytest.mark.model

PROGRAM = """#!/bin/sh
# Speaks like the program, through the wheel's copy.
while [ $# -gt 0 ]; do [ "$1" = -v ] && voice=$2; shift; done
text=$(cat)
printf '{"voice": "%s", "text": "%s"}\\n' "$voice" "$text" | PYTHON -I -S CHILD PACKAGE | grep -q error \\
    && { echo "Error: The specified espeak-ng voice does not exist." >&2; exit 1; }
printf '{"voice": "%s", "text": "%s"}\\n' "$voice" "$text" | PYTHON -I -S CHILD PACKAGE \\
    | PYTHON -c 'import json,sys; print("", json.loads(sys.stdin.readline())["phonemes"])'
"""


@pytest.fixture
def child() -> Iterator[EspeakChild]:
    package = espeak._find_wheel()
    assert package is not None
    child = EspeakChild(package)
    yield child
    child.close()


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "espeak-ng"
    script = Path(espeak.__file__).with_name("espeak_child.py")
    text = PROGRAM.replace("PYTHON", sys.executable).replace("CHILD", str(script))
    path.write_text(text.replace("PACKAGE", str(espeak._find_wheel())))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_portuguese_becomes_phonemes_with_its_punctuation(child: EspeakChild) -> None:
    assert Phonemizer(child).phonemize("Olá, tudo bem?", "pt-br") == "olˈa, tˈudʊ bˈeɪm?"


def test_marks_of_foreign_words_are_removed(child: EspeakChild) -> None:
    assert "(" not in Phonemizer(child).phonemize("O weekend (fim) de semana.", "pt-br")


def test_a_killed_child_is_replaced_within_the_same_call(child: EspeakChild) -> None:
    before = child.clause("um", "pt-br")
    pid = child.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert child.clause("um", "pt-br") == before
    assert child.pid != pid


def test_a_child_that_hangs_meets_the_deadline_and_is_replaced(child: EspeakChild) -> None:
    child.clause("um", "pt-br")
    assert child.pid is not None
    os.kill(child.pid, signal.SIGSTOP)
    child._deadline_s = 0.5
    stopped = child.pid
    assert child.clause("um", "pt-br")
    assert child.pid != stopped


def test_a_child_that_cannot_start_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable):
        EspeakChild(tmp_path).clause("um", "pt-br")


def test_threads_share_one_child(child: EspeakChild) -> None:
    words = ["um", "dois", "três", "quatro", "cinco", "seis"] * 5
    with ThreadPoolExecutor(6) as threads:
        together = list(threads.map(lambda word: child.clause(word, "pt-br"), words))
    assert together == [child.clause(word, "pt-br") for word in words]


def test_a_voice_that_does_not_exist_is_refused_and_the_child_lives_on(child: EspeakChild) -> None:
    with pytest.raises(UnsupportedLanguage):
        child.clause("um", "klingon-nowhere")
    assert child.clause("um", "pt-br")


def test_the_child_ends_with_its_parent() -> None:
    """The parent is killed: it cannot clean up, the end of its pipe does."""
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import time; from octavia_stream.tts import espeak\n"
            "child = espeak.EspeakChild(espeak._find_wheel()); child.clause('um', 'pt-br')\n"
            "print(child.pid, flush=True); time.sleep(60)",
        ],
        stdout=subprocess.PIPE,
    )
    assert parent.stdout is not None
    child_pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    for _ in range(100):
        if not Path(f"/proc/{child_pid}").exists() or "\nState:\tZ" in Path(f"/proc/{child_pid}/status").read_text():
            return
        subprocess.run(["sleep", "0.1"], check=True)
    pytest.fail("the child outlived its parent")


def test_close_ends_the_child_and_a_later_call_starts_another(child: EspeakChild) -> None:
    child.clause("um", "pt-br")
    child.close()
    child.close()
    assert child.pid is None
    assert child.clause("um", "pt-br")


def test_the_parent_never_loads_espeak() -> None:
    code = (
        "import sys; from octavia_stream.tts.espeak import Phonemizer; phonemizer = Phonemizer()\n"
        "phonemizer.phonemize('um', 'pt-br')\n"
        "assert not [name for name in sys.modules if name.startswith(('piper', 'espeakbridge'))]\n"
        "assert 'espeakbridge' not in open('/proc/self/maps').read()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_program_gives_the_same_phonemes(program: Path, child: EspeakChild) -> None:
    text = "Olá, tudo bem? Sim."
    by_program = Phonemizer(EspeakProgram(str(program))).phonemize(text, "pt-br")
    assert by_program == Phonemizer(child).phonemize(text, "pt-br")


def test_the_program_refuses_a_voice_it_does_not_have(program: Path) -> None:
    with pytest.raises(UnsupportedLanguage):
        EspeakProgram(str(program)).clause("um", "klingon-nowhere")


def test_a_program_that_fails_or_hangs_is_unavailable(tmp_path: Path) -> None:
    for body in ("exit 3", "sleep 30"):
        path = tmp_path / "espeak-ng"
        path.write_text(f"#!/bin/sh\nexec {body}\n" if body.startswith("sleep") else f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        with pytest.raises(EngineUnavailable):
            EspeakProgram(str(path), deadline_s=0.3).clause("um", "pt-br")


def test_without_any_source_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(espeak, "_find_program", lambda: None)
    monkeypatch.setattr(espeak, "_find_wheel", lambda: None)
    assert find_espeak() is None
    with pytest.raises(ModelMissing, match="pip install piper-tts"):
        open_espeak()


def test_the_wheel_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(espeak, "_find_program", lambda: None)
    assert find_espeak() == "espeak-ng of the piper-tts wheel, in a process of its own"
    assert isinstance(open_espeak(), EspeakChild)


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("Olá, tudo bem?", [("Olá", ","), ("tudo bem", "?")]),
        ("custa 3,5 ou 1.000", [("custa 3,5 ou 1.000", "")]),
        ("sim… não — talvez", [("sim", "…"), ("não", "—"), ("talvez", "")]),
        ("?!. ...", []),
        ("", []),
        ("sim!!! e fim.", [("sim", "!"), ("e fim", ".")]),
    ],
)
def test_clauses_are_split_at_their_marks(text: str, clauses: list[tuple[str, str]]) -> None:
    assert split_clauses(text) == clauses


def test_a_clause_too_long_for_one_request_is_cut_at_spaces(child: EspeakChild) -> None:
    text = "palavra " * 2000
    assert all(len(clause) <= 1000 for clause, _ in split_clauses(text))
    assert len(Phonemizer(child).phonemize(text, "pt-br").split()) == 2000
    assert split_clauses("x" * 2500) == [("x" * 1000, ""), ("x" * 1000, ""), ("x" * 500, "")]
