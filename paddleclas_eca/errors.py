"""The one exception that stands for a mistake in the user's input."""


class UserError(ValueError):
    """A mistake in a file, key or value that the message names and tells how to mend.

    The commands print the message alone, without a traceback. It is a
    ``ValueError`` so that callers in Python can catch it as usual.
    """
