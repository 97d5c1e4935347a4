"""Planning of one service at one entry node: candidates, objectives, route tables, explanations."""
