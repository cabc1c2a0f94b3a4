"""What events say about the graph: pure functions and frozen values."""
