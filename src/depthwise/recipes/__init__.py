"""Named settings for training, one TOML file each; `depthwise.workflows.recipes` reads them."""
