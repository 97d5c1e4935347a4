"""What the HTTP servers of the runtime and of the model store share."""
