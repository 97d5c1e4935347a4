"""The model store: files by name, blobs by digest, and the slices that are cut from them."""
