"""`python -m depthwise` is the command line."""

from depthwise.cli import main

if __name__ == "__main__":
    main()
