"""The shape of the graph and the changes that events make to it: pure functions and frozen values."""
