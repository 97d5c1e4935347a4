"""Trials of slices and models in a separate process, before they run in this one."""
