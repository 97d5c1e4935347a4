"""The admission webhook: reviews of objects by what the objects of the cluster say about each other."""
