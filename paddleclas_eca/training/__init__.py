"""Fault-tolerant training, independent of any host: checkpoints, signals, watchdog, seeding."""
