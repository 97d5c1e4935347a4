"""Runs slices with onnxruntime: sessions, the inference queue, threads and memory."""
