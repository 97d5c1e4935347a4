"""System shared memory of this node, in which clients pass tensors without sending them."""
