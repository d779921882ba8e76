"""`python -m monitoring` prints the Grafana board of deploy/monitoring; see `board.py`."""
