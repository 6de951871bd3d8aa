"""A simulated world, in which omsfab runs as it is: faults are found by search."""
