"""Private servers on loopback: Postfix, Redis, OpenDKIM, databases, sinks, and a web around them.

The demonstration, the tests and the benchmarks share them. Each is started and ended by its process
id, keeps its files in a directory of its own, and touches nothing of the machine's own servers.
Nothing here imports Fletching, its tests, the demonstration or the benchmarks.
"""
