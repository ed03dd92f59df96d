"""The programs that these networks run in."""
