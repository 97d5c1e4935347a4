"""What a request does: which route, how long a hop may take, what answers in its place."""
