"""HTTP server code that the runtime and the model store share."""
