"""The errors that are the user's to put right: one kind, and its name for folders."""


class UserError(ValueError):
    """What was asked cannot be done. The message says what was wrong, what is allowed, and what to do.

    The command line prints it without a trace and exits with status 2.
    """


class RunDirError(UserError):
    """A folder that cannot be used as asked; the message says why and what to do."""
