"""From files to batches of pixels: index, decode, split, geometry, cache, order, augment. Knows nothing of networks."""
