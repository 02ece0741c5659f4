"""`octavia metrics`: every metric, and what it means."""

from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from octavia_stream.telemetry.metrics import catalogue


def list_metrics(*, markdown: Annotated[bool, Parameter(negative="")] = False) -> int:
    """Show what a server tells Prometheus, by name.

    Parameters
    ----------
    markdown
        Print the page of the reference instead.
    """
    if markdown:
        print(metrics_page(), end="")  # noqa: T201  (the page itself)
        return 0
    table = Table("metric", "type", "labels", "meaning")
    for metric in catalogue():
        table.add_row(metric.name, metric.type, ", ".join(metric.labels), metric.meaning)
    Console().print(table)
    return 0


def metrics_page() -> str:
    """The page of the reference."""
    head = (
        "# Metrics\n\n"
        "What `GET /metrics` of any api process tells, of all processes of the server together; how to read it is in\n"
        "[operating a server](../how-to/operate.md). A histogram has the suffixes `_bucket`, `_count`, `_sum`. This\n"
        "page is made by `octavia metrics --markdown`.\n\n"
        "| metric | type | labels | meaning |\n|---|---|---|---|\n"
    )
    rows = []
    for metric in catalogue():
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        rows.append(f"| `{metric.name}` | {metric.type} | {labels} | {metric.meaning} |\n")
    return head + "".join(rows)
