"""The doctor's findings as a table: what is installed, what is missing, and the line that installs it."""

from collections.abc import Iterable

from rich.table import Table
from rich.text import Text

from mcdist.machine.doctor import Finding

STYLES = {"ok": "green", "missing": "yellow", "broken": "bold red"}


def findings_table(findings: Iterable[Finding]) -> Table:
    """One row per finding, with the remedy below what was found."""
    table = Table(
        title="What this machine has", title_justify="left", title_style="bold", header_style="bright_black", show_edge=False, pad_edge=False, expand=False
    )
    table.add_column("")
    table.add_column("here?")
    table.add_column("seen, and what to do", overflow="fold")
    for finding in findings:
        seen = Text(finding.detail)
        if finding.remedy:
            seen.append(f"{chr(10) if finding.detail else ''}{finding.remedy}", style="cyan")
        table.add_row(Text(finding.name, style="bold"), Text(finding.status, style=STYLES[finding.status]), seen)
    return table
