"""The plan of a DevicePool: a pure function of what was observed, of the plan before, and of the time."""
