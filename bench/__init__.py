"""Benchmarks: how fast Fletching is. Nothing here is a test."""
