"""The scheduler inside trainers. `trl` needs TRL, an optional extra; `values` nothing."""
