"""The `phonograph` command.

Exit codes: 0 success; 1 a file was rejected or a service failed; 2 wrong usage; 3 the stack is not up.
"""

import logging
import signal

import typer

from phonograph_cli.commands import dead_letters, graph, jobs, models, topics
from phonograph_cli.commands.demo import demo
from phonograph_cli.commands.events import events
from phonograph_cli.commands.ingest import ingest
from phonograph_cli.commands.recordings import export, show
from phonograph_cli.commands.replay import replay
from phonograph_cli.commands.stack import down, logs, migrate, status, up

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Ingest recordings and describe their content.",
)
for command in (up, down, demo, migrate, status, logs, ingest, show, export, events, replay):
    app.command()(command)
app.add_typer(graph.app, name="graph")
app.add_typer(dead_letters.app, name="dlq")
app.add_typer(jobs.app, name="jobs")
app.add_typer(topics.app, name="topics")
app.add_typer(models.app, name="models")


def main() -> None:
    """Run the command of this process."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # as other programs end when `| head` has read enough
    # The client reconnects by itself, and would log every attempt between the lines of the command.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    app()
