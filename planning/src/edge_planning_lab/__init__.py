"""Research code: published methods as policies, forecasts of bandwidth, and a simulator of policies."""
