"""Takes what the analysis measured."""

from phonograph_events import MusicAnalyzed
from phonograph_runtime.database import Transaction
from phonograph_tracklist.factory import catalogue_service


async def music_analyzed(event: MusicAnalyzed, transaction: Transaction) -> None:
    """Tempo, key and loudness of a recording are known."""
    await catalogue_service(transaction).describe(event)
