"""The Hugging Face hub, from which timm downloads: whether it answers is asked first, and its client is kept quiet."""

import contextlib
import logging
import time
from collections.abc import Iterator

PATIENCE = 30.0
"""Seconds in which the hub must begin to answer: three times what its client allows for one try."""
PAUSES = (1.0, 2.0)
"""Seconds before it is asked again, where there was no connection at all."""


def no_answer() -> str:
    """Why the hub cannot be reached; empty where it answers anything, and where the user wants no network to be used.

    Its client tries to connect six times for each of the files that weights may lie in, with growing pauses, which
    takes most of a minute without a network, and minutes where a firewall drops what is sent.
    """
    from huggingface_hub import constants

    reason = ""
    for pause in () if constants.HF_HUB_OFFLINE else (0.0, *PAUSES):
        time.sleep(pause)
        begun = time.monotonic()
        try:
            _ask(constants.ENDPOINT)
            return ""
        except ConnectionError as error:
            reason = str(error)
        if time.monotonic() - begun > PATIENCE / 2:  # somebody drops what is sent, and will do so again
            break
    return reason


def _ask(place: str) -> None:
    """Raise ConnectionError where nothing comes back, whatever it would be."""
    from huggingface_hub import get_session

    try:
        get_session().head(place, timeout=PATIENCE)
    except Exception as error:  # whatever the client raises, which changes with its version
        raise ConnectionError(f"{place} does not answer: {str(error) or type(error).__name__}") from error


@contextlib.contextmanager
def asked(online: bool) -> Iterator[None]:
    """The client says nothing but errors inside; not `online`, it gives what it has kept, without trying to connect."""
    from huggingface_hub import constants

    logger = logging.getLogger("huggingface_hub")
    level, offline = logger.level, constants.HF_HUB_OFFLINE
    logger.setLevel(logging.ERROR)
    constants.HF_HUB_OFFLINE = offline or not online
    try:
        yield
    finally:
        logger.setLevel(level)
        constants.HF_HUB_OFFLINE = offline
