"""What the pages say is so: links lead somewhere, the settings are all there, every command is named."""

import re
from pathlib import Path

import pytest

from octavia_stream.cli.main import app
from octavia_stream.cli.settings import settings_page
from octavia_stream.config import Settings

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_that_exist(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert not missing


def test_the_reference_of_settings_is_that_of_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("DATABASE_URL", "REDIS_URL"):
        monkeypatch.delenv(variable, raising=False)
    page = (ROOT / "docs" / "reference" / "settings.md").read_text(encoding="utf-8")
    assert page == settings_page(Settings()), "run: octavia settings --markdown > docs/reference/settings.md"


def test_every_setting_has_a_meaning() -> None:
    page = (ROOT / "docs" / "reference" / "settings.md").read_text(encoding="utf-8")
    assert not re.findall(r"^\| `(\w+)` \|.*\|  \|$", page, re.MULTILINE)


def test_every_command_is_in_the_reference() -> None:
    page = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    commands = {name for name in app if not name.startswith("-")}
    assert {name for name in commands if f"octavia {name}" not in page} == set()
