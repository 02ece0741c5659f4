"""The hub client against a small hub on the loopback that speaks its protocol."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from octavia_stream.models.hub import hub_snapshot

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {"model.bin": b"weights", "config.json": b"{}"}


class Hub(BaseHTTPRequestHandler):
    """One repository, `org/model`, with one commit."""

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        path = self.path.partition("?")[0]
        if path.startswith("/api/models/org/model/revision/"):
            siblings = [{"rfilename": name} for name in FILES]
            content = json.dumps({"id": "org/model", "sha": COMMIT, "siblings": siblings}).encode()
        elif path.startswith(f"/api/models/org/model/tree/{COMMIT}"):
            tree = [{"type": "file", "path": n, "size": len(c), "oid": "0" * 40} for n, c in FILES.items()]
            content = json.dumps(tree).encode()
        elif path.startswith(f"/org/model/resolve/{COMMIT}/"):
            content = FILES[path.rpartition("/")[2]]
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def download(name: str, cache: Path, endpoint: str) -> str:
    """`hub_snapshot` in a process of its own: the library reads its hub's address when it is imported."""
    code = (
        "import sys; from pathlib import Path; from octavia_stream.models.hub import hub_snapshot;"
        "print(hub_snapshot(sys.argv[1], Path(sys.argv[2]), offline=False))"
    )
    environment = os.environ | {"HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1"}
    command = [sys.executable, "-c", code, name, str(cache)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, timeout=120)
    return done.stdout.strip()


def test_a_snapshot_is_downloaded_and_then_found_offline(tmp_path: Path, hub: str) -> None:
    name = f"org/model@{COMMIT}"
    assert hub_snapshot(name, tmp_path, offline=True) == "org/model was not downloaded"

    downloaded = Path(download(name, tmp_path, hub))

    assert {path.name: path.read_bytes() for path in downloaded.iterdir()} == FILES
    assert hub_snapshot(name, tmp_path, offline=True) == downloaded


def test_a_repository_that_does_not_exist_is_told_in_words(tmp_path: Path, hub: str) -> None:
    assert download("org/other@main", tmp_path, hub) == "the hub refused org/other (404)"


def test_a_hub_that_is_away_is_told_in_words(tmp_path: Path) -> None:
    assert download("org/model@main", tmp_path, "http://127.0.0.1:9") == "the hub could not be reached for org/model"


def test_what_is_no_repository_is_told_in_words(tmp_path: Path) -> None:
    assert hub_snapshot("../etc@main", tmp_path, offline=True) == "../etc is not the name of a repository"
