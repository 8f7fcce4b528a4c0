"""What the pages of docs/models are made of."""
