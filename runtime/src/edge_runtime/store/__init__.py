"""The model store: files by name, blobs by digest, and the slices cut from them."""
