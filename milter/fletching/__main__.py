"""`python -m fletching`."""

from fletching.cli import main

main(prog_name="fletching")
