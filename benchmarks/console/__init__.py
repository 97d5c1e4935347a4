"""The console with a made-up cluster, for its benchmark and its tests."""
