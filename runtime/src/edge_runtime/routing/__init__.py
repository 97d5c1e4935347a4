"""Which route answers a request, and what answers when its hop does not."""
