"""Whether a run's images have an up: which flips and turns its views get."""

from dataclasses import replace
from typing import Literal, get_args

from resmom.config import Run
from resmom.views.policy import Policy, View

Orientation = Literal["upright", "any"]
"""`upright`: the images have an up, as photographs do. `any`: they have none, as images from above or through a
microscope."""


def with_orientation(run: Run, orientation: Orientation) -> Run:
    """The run with all its views, local ones too, in one orientation or in any.

    In any, all views get a quarter turn by chance, and vertical flips as often as they get flips of left and right. A
    policy without mirror images, as for digits, stays without.
    """
    views = tuple(_view(view, orientation) for view in run.policy.views)
    return replace(run, policy=replace(run.policy, views=views))


def _view(view: View, orientation: Orientation) -> View:
    if orientation == "upright":
        return replace(view, flip_vertical=0.0, quarter_turns=0.0)
    return replace(view, flip_vertical=view.flip, quarter_turns=1.0)


def orientation_of(policy: Policy) -> Orientation | None:
    """The orientation of a policy; None for flips and turns of its own."""
    kinds: tuple[Orientation, ...] = get_args(Orientation)
    return next((kind for kind in kinds if all(_view(view, kind) == view for view in policy.views)), None)
