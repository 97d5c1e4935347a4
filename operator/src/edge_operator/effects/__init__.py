"""What carries out decisions: writes to the API server, requests to the model store, loads into Triton."""
