"""Every router on one Protocol: lines that need no learning, published routers and V0. One file each."""
