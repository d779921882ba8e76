"""Prints the board as JSON. `make docs` writes it to deploy/monitoring/fletching-board.json."""

from __future__ import annotations

import json

from monitoring.board import board

print(json.dumps(board(), indent=1))
