"""PaddleClas's Engine, with what this package adds to it."""
