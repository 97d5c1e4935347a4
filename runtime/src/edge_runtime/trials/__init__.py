"""Trials of slices and models in a separate process, before they may run in this one."""
