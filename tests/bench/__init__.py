"""What the event plane costs: each figure beside a bare loop of the same libraries, in the same run."""
