"""Running slices with onnxruntime: sessions, the queue before them, threads and memory."""
