"""Images, views and backbone have one number of channels, which is told before anything is built or written."""

from resmom.build import Own
from resmom.called import called, either
from resmom.config import ConfigError, Run
from resmom.nets.backbones import DinoViT, MoCoViT, ResNet, SmallResNet, Timm


def require_channels(run: Run, own: Own | None, images: int | None = None) -> None:
    """Raise ConfigError unless policy.mean and the backbone have as many channels as the images, if these are known.

    Of a backbone from Python nobody knows how many it takes before it is tried.
    """
    mean, backbone = len(run.policy.mean), run.backbone if own is None or own.backbone is None else None
    channels = mean if images is None else images
    found = f"the views have {mean} channel(s)"
    if images is not None:
        found = f"the images have {images} channel(s), {called('policy.mean')} {mean}"
    match backbone:
        case SmallResNet(channels=takes) if not channels == mean == takes:
            raise ConfigError(
                f"{found}, {called('backbone.channels')} is {takes}, and these must agree; give {_settings(channels)}"
                f"{_unusual(channels)}"
            )
        case ResNet() | MoCoViT() | DinoViT() | Timm() if channels != 3:
            raise ConfigError(
                f"{found}, and of the backbones only SmallResNet takes other numbers than 3: convert the images to "
                f"RGB, or take {either('--backbone small', 'it')} with {_settings(channels)}{_unusual(channels)}"
            )
        case _ if channels != mean:
            raise ConfigError(
                f"{found}; give {called('policy.mean')} and {called('policy.std')} one number per channel"
                f"{_unusual(channels)}"
            )


def _settings(channels: int) -> str:
    """The options with which a run takes images of so many channels; the numbers are those of no data set."""
    mean, std = (" ".join([number] * min(channels, 4)) + " …" * (channels > 4) for number in ("0.5", "0.25"))
    return (
        f"{called('backbone.channels')} {channels}, and one number per channel: {called('policy.mean')} {mean} and "
        f"{called('policy.std')} {std}"
    )


def _unusual(channels: int) -> str:
    """What else is likely of images that are neither grey nor RGB."""
    if channels in (1, 3):
        return ""
    return (
        "; grey images have 1 channel and RGB images 3, an array is N x H x W x C and a tensor N x C x H x W, and a "
        "fourth channel of transparency is best left out: images[..., :3] of an array, images[:, :3] of a tensor"
    )
