"""`octavia settings`: every setting, what it means, and what it is now."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, SecretStr
from rich.console import Console
from rich.table import Table

from octavia_stream.config import Settings

_SERVICE_VARIABLES = {"database_url": "DATABASE_URL", "redis_url": "REDIS_URL"}


@dataclass(frozen=True, slots=True)
class Setting:
    """One environment variable."""

    variable: str
    meaning: str
    default: str
    value: str


def all_settings(settings: Settings) -> list[Setting]:
    """Every field that can be set, sections spelled out, in the order of the code."""
    return list(_fields(settings, None, "OCTAVIA_"))


def _fields(section: BaseModel, usual: BaseModel | None, prefix: str) -> Iterator[Setting]:
    """usual: the section as it is when nothing is set; None asks each field."""
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        default = field.default if usual is None else getattr(usual, name)
        if isinstance(value, BaseModel):
            yield from _fields(value, default, f"{prefix}{name.upper()}__")
            continue
        variable = _SERVICE_VARIABLES.get(name, prefix + name.upper())
        # A factory's default depends on the machine: the reference is the same everywhere.
        default = "" if field.default_factory is not None else _shown(default)
        yield Setting(variable, " ".join((field.description or "").split()), default, _shown(value))


def _shown(value: Any) -> str:
    if value is None or value in ({}, ()):
        return ""
    if isinstance(value, SecretStr):
        return "(set)"
    return str(value).lower() if isinstance(value, bool) else str(value)


def settings_page(settings: Settings) -> str:
    """The page of the reference."""
    head = (
        "# Settings\n\n"
        "Every setting is an environment variable; `octavia settings` shows what each is now. This page is made by\n"
        "`octavia settings --markdown`.\n\n"
        "| variable | default | meaning |\n|---|---|---|\n"
    )
    rows = (f"| `{row.variable}` | {row.default} | {row.meaning} |\n" for row in all_settings(settings))
    return head + "".join(rows)


def show_settings(*, markdown: bool = False) -> None:
    """Show every setting, its meaning and what it is now.

    Parameters
    ----------
    markdown
        Print the page of the reference instead.
    """
    if markdown:
        Console(width=10_000, soft_wrap=True).print(settings_page(Settings()), end="", markup=False, highlight=False)
        return
    table = Table("variable", "now", "meaning")
    for row in all_settings(Settings()):
        table.add_row(row.variable, row.value, row.meaning)
    Console().print(table)
