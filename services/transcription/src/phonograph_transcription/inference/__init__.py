"""Transcribers behind one Protocol, their models, and the engine that runs them."""
