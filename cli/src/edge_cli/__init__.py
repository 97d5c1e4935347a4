"""`ei`, the command line of edge-intelligence, also as `kubectl ei`."""
