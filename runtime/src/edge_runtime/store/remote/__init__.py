"""Model sources that client libraries read: buckets, the Hugging Face Hub, and OCI registries.

They run in a process of their own (`apart`), in which no connection to an internal address opens unless it is
allowed, whatever a library does.
"""
