"""Checks of configs: declared values, arithmetic in text, and the findings about them."""
