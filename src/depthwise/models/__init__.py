"""The networks: a registry, shared blocks, and one file per paper."""
