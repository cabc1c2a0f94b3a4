"""The engine that measures music, with essentia and numpy."""
