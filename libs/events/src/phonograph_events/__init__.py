"""The public contract: every event as a pydantic model, topic names and the CloudEvents envelope."""
