"""The runtimes of namespaces at nodes: which there are, their objects, how new versions reach them."""
