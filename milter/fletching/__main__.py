"""`python -m fletching`."""

from fletching.cli.main import main

main(prog_name="fletching")
