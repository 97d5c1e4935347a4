"""`edge-operator explain`: how a service is planned beside the others of its pool."""
