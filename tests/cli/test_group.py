"""Groups of commands: errors in the language of the command."""

from __future__ import annotations

import typer
from typer.testing import CliRunner

from etn.cli.group import Speaking
from etn.errors import SettingsError


def test_errors_name_options_and_exit_with_2():
    group = typer.Typer(cls=Speaking, callback=lambda: None)

    @group.command()
    def work(n_max: int = 1) -> None:
        if n_max < 0:
            raise SettingsError(f"n_max: expected zero or more, got {n_max}")
        if n_max > 9:
            raise MemoryError("3 GB")
        raise KeyboardInterrupt

    @group.command()
    def rest() -> None:
        pass

    run = CliRunner()
    refused = run.invoke(group, ["work", "--n-max", "-1"])
    assert refused.exit_code == 2
    assert "etn: --n-max: expected zero or more, got -1" in refused.output
    full = run.invoke(group, ["work", "--n-max", "10"])
    assert full.exit_code == 2
    assert "out of memory (3 GB); choose smaller settings" in full.output
    stopped = run.invoke(group, ["work"])
    assert stopped.exit_code == 130
