"""The manual pages, made from the tables that `--help` and docs/configuration.md are made from.

`python -m fletching.manual DIRECTORY` writes all pages. No page describes anything of its own: a
command is described in `cli/`, an option of the configuration in `config/`.
"""
