"""The command of every service, `phonograph-NAME`: runs it, or its migrations."""

import asyncio
import gc
import sys
from collections.abc import Callable

from aiokafka.errors import KafkaError
from pydantic import ValidationError

from phonograph_runtime.app import ServiceApp
from phonograph_runtime.errors import PermanentError
from phonograph_runtime.logs import configure_logging
from phonograph_runtime.settings import describe_wrong_setting
from phonograph_runtime.stopping import stop_on_signals

USAGE = "[run | migrate [REVISION] | downgrade REVISION | revision TEXT]"


def main(create_app: Callable[[], ServiceApp]) -> None:
    """Run a service, or its migrations; exit with status 1 and one line if that fails."""
    action, *rest = sys.argv[1:] or ["run"]
    try:
        app = create_app()
    except ValidationError as error:
        sys.exit(describe_wrong_setting(error))
    except PermanentError as error:
        sys.exit(error.message)
    try:
        if [action, *rest] == ["run"]:
            asyncio.run(_run(app))
        else:
            _migrate(app, action, rest)
    except PermanentError as error:
        sys.exit(error.message)
    except (OSError, KafkaError) as error:
        sys.exit(f"A server does not answer: {error}")


def _migrate(app: ServiceApp, action: str, rest: list[str]) -> None:
    from phonograph_runtime import migrations  # Alembic, which a running service does not need

    folder = app.settings.migrations / app.service.value
    url = app.settings.database_url.get_secret_value()
    match action, rest:
        case "migrate", [*revision]:
            migrations.upgrade(url, folder, *revision[:1])
        case "downgrade", [revision]:
            migrations.downgrade(url, folder, revision)
        case "revision", [text]:
            migrations.make_revision(url, folder, text)
        case _:
            sys.exit(f"usage: phonograph-{app.service} {USAGE}")


async def _run(app: ServiceApp) -> None:
    configure_logging(app.service.value, app.settings.log_level)
    stop = asyncio.Event()
    stop_on_signals(stop)
    collect_rarely()
    await app.run(stop)


def collect_rarely() -> None:
    """Collect garbage less often: it took a third of the processor time of a consumer.

    Loaded modules are never freed, and a batch is thousands of objects that are freed together.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
