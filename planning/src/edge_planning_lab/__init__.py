"""What only research runs: published methods as policies, and a simulator of what decisions lead to."""
