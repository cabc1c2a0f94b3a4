"""Diarizers behind one Protocol, and the engine that runs them."""
