"""Reinforcement learning of a nano model with the scheduler: rollouts, gradients, methods to compare, one run each."""
