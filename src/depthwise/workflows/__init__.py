"""What the commands do, one module each: the only place where data, networks, training and deployment meet files."""
