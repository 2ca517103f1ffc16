"""The doctor's findings as a table for the terminal."""

from rich.table import Table
from rich.text import Text

from mcdist.doctor import Finding

STYLES = {"ok": "green", "missing": "yellow", "broken": "red"}


def findings_table(findings: list[Finding]) -> Table:
    """One row a finding: name, status, what was seen, what to type. Brackets in a remedy (`mcdist[mlflow]`) are text, not markup."""
    table = Table(title="What this machine has")
    for heading in ("part", "status", "found", "to get it"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        status = Text(finding.status, style=STYLES[finding.status])
        table.add_row(Text(finding.name), status, Text(finding.detail), Text(finding.remedy))
    return table
