"""Fixed values of the tracklist service."""

from typing import Final

MAX_CUE_BYTES: Final = 1 << 20
"""A cue sheet of ten hours with every keyword has less than 100 kB; a larger file is not a cue sheet."""
MAX_TRACKS: Final = 10_000
MAX_WARNINGS: Final = 100
"""Per cue sheet; a binary file that contains a TRACK line would have one warning per line."""
MAX_SIDECARS: Final = 50
"""Cue files of one folder that are opened to see which media file they name."""

MAX_FILE_NAME: Final = 255
"""Limit in bytes and in characters (C-50): what ext4, APFS and NTFS allow."""

MAX_KEY_CHARS: Final = 100
MAX_VALUE_CHARS: Final = 4_000
"""Per value of a metadata row; longer lyrics and notes are cut."""
MAX_TITLE_CHARS: Final = 500
MAX_ARTIST_CHARS: Final = 255

TRACKLIST: Final = "tracklist"
"""The kind of job that finds the tracklist of a recording and a better file name."""

MAX_EVENT_TRACKS: Final = 1_000
MAX_EVENT_TRACKS_BYTES: Final = 400_000
MAX_EVENT_METADATA_BYTES: Final = 300_000
MAX_EVENT_WARNINGS: Final = 100
"""These limits keep an event below 1 MB; tables and document hold everything."""
