"""How an activation is encoded on a hop: ONNX nodes at the edges of the slices on both sides of it."""
