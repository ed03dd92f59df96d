"""Safe training that knows no host: checkpoints, signals, watchdog, seeding."""
