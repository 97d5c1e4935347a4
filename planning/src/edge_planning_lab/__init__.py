"""Research code: published methods as policies, and a simulator of policies."""
