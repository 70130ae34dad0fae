"""The one kind of error that is the user's to put right."""


class UserError(ValueError):
    """What was asked cannot be done. The message says what was wrong, what is allowed, and what to do.

    The command line prints it without a trace and exits with status 2.
    """
