"""The one exception that the command line prints without a traceback."""


class UserError(Exception):
    """An error that the user can fix: the message names the file, the row or key, and the fix."""
