"""From a model file to answers. Knows nothing of training."""
