"""The cache of a node: slices by digest that outlive pods, and the client by which runtimes read it."""
