"""`edge-runtime exits`: lists, adds and trains the exits of an ONNX file."""
