"""What is raised where images cannot be used, or not be read."""

from collections.abc import Sequence

from resmom.errors import UserError


class DataError(UserError):
    """The data a user named cannot be used. The message says what was wrong, what is allowed and what to do."""


class UnreadableData(DataError):
    """The call is right and the data is there, but nothing of it can be read.

    `what`: that, with an example, in words; `advice`: what to do, as sentences without the last full stop. `name`: what
    the images are called; `images`: (name, reason) of every one, empty where the file that they lie in is damaged.
    """

    def __init__(self, what: str, advice: str, name: str = "", images: Sequence[tuple[str, str]] = ()) -> None:
        more = "; `resmom data check` names all of them" if len(images) > 1 else ""
        super().__init__(f"{what}. {advice}{more}")
        self.what, self.advice, self.name, self.images = what, advice, name, list(images)

    def advised(self, advice: str) -> "UnreadableData":
        """The same with other advice."""
        return UnreadableData(self.what, advice, self.name, self.images)
