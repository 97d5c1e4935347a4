"""The demo's second act: two tenants share the slowest nodes, and one sends ten times its declared rate."""
