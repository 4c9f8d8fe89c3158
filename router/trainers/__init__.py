"""The scheduler inside other people's trainers. Each module needs the trainer's own package, an optional extra."""
