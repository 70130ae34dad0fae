"""Colours of classes, apart for every kind of sight, and pictures of masks, which show void and edges without them."""

import base64
import io
from itertools import combinations

import numpy as np
from PIL import Image

from resmom.report.maskcolours import MOST, VOID, class_colour, distance
from resmom.report.thumbnails import mask_uri


def test_distance_is_that_of_those_who_see_least() -> None:
    assert abs(distance("#000000", "#ffffff") - 0.5) < 1e-3 and distance("#123456", "#123456") == 0
    # The same lightness, red against green: apart for normal sight, hardly for those without green cones.
    assert distance("#a05000", "#647000") < 0.5 * distance("#2050c0", "#a0a000")


def test_the_colours_of_camvid_and_of_voc_are_apart_for_all() -> None:
    for classes, least in ((11, 0.065), (21, 0.05), (MOST, 0.03)):
        colours = [class_colour(n) for n in range(classes)]
        assert min(distance(a, b) for a, b in combinations(colours, 2)) > least
        assert min(distance(a, void) for a in colours for void in VOID) > least
    assert class_colour(MOST + 3) == class_colour(3)


def read(uri: str) -> np.ndarray:
    image = Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/png;base64,"))))
    return np.asarray(image.convert("RGB"))


def rgb(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour[1:]))


def test_the_picture_of_a_mask() -> None:
    labels = np.full((60, 90), 7)
    labels[:, 30:] = 2
    labels[:, 60:] = 255
    pixels = read(mask_uri(labels, {7: 4, 2: 0}, 90))
    assert pixels.shape == (60, 90, 3)
    assert tuple(pixels[5, 10]) == rgb(class_colour(4)) and tuple(pixels[5, 40]) == rgb(class_colour(0))
    assert tuple(pixels[5, 30]) == tuple(pixels[5, 60]) == (16, 20, 24)  # a dark line between areas
    striped = {tuple(pixel) for pixel in pixels[:, 61:].reshape(-1, 3).tolist()}
    assert striped == {rgb(colour) for colour in VOID}


def test_a_large_mask_is_made_small_without_new_classes() -> None:
    labels = np.zeros((300, 800), dtype=np.uint8)
    labels[:, 400:] = 1
    pixels = read(mask_uri(labels, {0: 0, 1: 1}, 80))
    assert pixels.shape == (30, 80, 3)
    assert {tuple(p) for p in pixels.reshape(-1, 3).tolist()} == {rgb(class_colour(n)) for n in (0, 1)} | {(16, 20, 24)}
