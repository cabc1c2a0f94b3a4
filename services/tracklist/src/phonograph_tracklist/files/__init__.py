"""Reading what lies beside a media file."""
