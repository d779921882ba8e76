"""Whether Fletching works on this host, for those who show it: metrics and dashboard."""
