"""The `phonograph` command."""
