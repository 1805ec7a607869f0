"""The privacy kernel: what a release is, what it may move, what it costs."""
