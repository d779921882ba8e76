"""How much of the code do the tests hold? Small changes, one at a time, and whether a test fails.

`mutants.py` makes the changes of a module, `covering.py` finds the tests that execute each line,
and `trials.py` runs them on a copy of the source. The working tree is only read.
"""
