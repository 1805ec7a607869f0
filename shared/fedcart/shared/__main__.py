"""`python -m fedcart.shared`: the command line, where the `fedcart` script is not on the path."""

from fedcart.shared.cli import main

main()
