"""Other people's weights: where they lie, what their tensors are called, what they expect."""
