"""A read-only web page: pools, services and tenants as `kubectl` shows them, and why routes are so."""
