"""The soak: hours of mixed load with faults; nothing may be lost, doubled or leaked."""
