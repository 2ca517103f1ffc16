"""mcdist doctor."""


def doctor_command() -> None:
    """Print what this machine has and what is missing, with the line that installs it."""
    from mcdist.machine.doctor import examine
    from mcdist.report.console import show
    from mcdist.report.doctor_table import findings_table

    show(findings_table(examine()))
