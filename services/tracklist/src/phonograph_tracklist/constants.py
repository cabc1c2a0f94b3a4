"""Numbers and words of the catalogue that are no settings."""

from typing import Final

MAX_CUE_BYTES: Final = 1 << 20
"""A ten-hour mix with every keyword stays below 100 kB; more is no cue sheet."""
MAX_TRACKS: Final = 10_000
MAX_WARNINGS: Final = 100
"""Of one cue sheet; a binary file with a TRACK line in it would have one per line."""
MAX_SIDECARS: Final = 50
"""Cue sheets of one folder that are opened to see which file they name."""

MAX_FILE_NAME: Final = 255
"""Bytes and characters (C-50): what ext4, APFS and NTFS allow."""

MAX_KEY_CHARS: Final = 100
MAX_VALUE_CHARS: Final = 4_000
"""Of one value of a metadata row; lyrics and notes are cut there."""
MAX_TITLE_CHARS: Final = 500
MAX_ARTIST_CHARS: Final = 255

TRACKLIST: Final = "tracklist"
"""The kind of job that looks for a tracklist and a name."""

MAX_EVENT_TRACKS: Final = 1_000
MAX_EVENT_TRACKS_BYTES: Final = 400_000
MAX_EVENT_METADATA_BYTES: Final = 300_000
MAX_EVENT_WARNINGS: Final = 100
"""Together with the rest an event stays below 1 MB; tables and document hold everything."""
