"""The one exception that the command line prints without a traceback."""


class UserError(Exception):
    """Something that the user can mend: the message names the file, the row or key, and the fix."""
