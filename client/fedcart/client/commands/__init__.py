"""The commands of `fedcart store`, one a module; each loads what it needs when it is called."""
