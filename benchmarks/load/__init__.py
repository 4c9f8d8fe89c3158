"""Load on a gateway: what it adds, what it uses, how fast it starts (`router-bench load`)."""
