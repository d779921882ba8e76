"""The dashboard: pages for the operator."""
