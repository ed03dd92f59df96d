"""Plots of trained networks: training curves, channel weights, heat maps."""
