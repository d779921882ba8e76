#!/usr/bin/python3 -IS
"""The command `fletching` of the Debian package.

Only Python's standard library and /usr/lib/fletching/python are imported: no other package, folder
or environment variable of the host can replace a library (-I and -S, python3(1)).
"""

import sys

sys.path.insert(0, "/usr/lib/fletching/python")

from fletching.cli.main import main

main(prog_name="fletching")
