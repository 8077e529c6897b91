"""Training side of lightsr: networks, data and the training loop (PyTorch)."""
