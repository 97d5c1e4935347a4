"""Codecs: the encoding of activations on a hop, as ONNX nodes at the boundary of both slices."""
