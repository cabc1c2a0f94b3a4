"""The `phonograph` command.

Exit codes: 0 success; 1 a file was rejected or a service failed; 2 wrong usage; 3 the stack is not up.
"""

import logging
import signal

import typer

from phonograph_cli.commands import dead_letters, graph, jobs, models, people, speakers, topics
from phonograph_cli.commands.demo import demo
from phonograph_cli.commands.enhance import enhance
from phonograph_cli.commands.events import events
from phonograph_cli.commands.history import history
from phonograph_cli.commands.ingest import ingest
from phonograph_cli.commands.recordings import export, show
from phonograph_cli.commands.replay import replay
from phonograph_cli.commands.rerun import rerun
from phonograph_cli.commands.score import score
from phonograph_cli.commands.search import search
from phonograph_cli.commands.stack import down, logs, migrate, status, up

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Ingest recordings and describe their content.",
)
for command in (
    up, down, demo, migrate, status, logs, ingest, rerun, show, history, export, search, score, enhance,
    events, replay,
):  # fmt: skip
    app.command()(command)
app.add_typer(graph.app, name="graph")
app.add_typer(dead_letters.app, name="dlq")
app.add_typer(jobs.app, name="jobs")
app.add_typer(speakers.app, name="speakers")
app.add_typer(people.app, name="people")
app.add_typer(topics.app, name="topics")
app.add_typer(models.app, name="models")


def main() -> None:
    """Run the command of this process."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # as other programs end when `| head` has read enough
    # The client reconnects by itself, and would log every attempt between the lines of the command.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    app()
