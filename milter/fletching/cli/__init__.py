"""The command line: it parses, calls and prints. Logic belongs in `admin/`, `checks/`, ..."""
