"""The HTTP server of `metrics.listen`: metrics for Prometheus, and whether this host is healthy."""
