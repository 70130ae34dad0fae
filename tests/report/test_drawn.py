"""Pictures of what was found: colours at their places, words that stay on the photo, and the photo left as it is."""

import numpy as np
import pytest

from resmom.report.drawn import SHARE, Drawn, palette, rgb, with_boxes, with_classes
from resmom.report.maskcolours import class_colour


def grey(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), 100, np.uint8)


def test_a_box_has_the_colour_of_its_class() -> None:
    photo = grey(200, 300)
    drawn = np.array(with_boxes(photo, [Drawn((50.0, 60.0, 150.0, 160.0), 2, "moss 0.90")]))
    colour = rgb(2)
    assert "#{:02x}{:02x}{:02x}".format(*colour) == class_colour(2)
    for y, x in ((60, 100), (159, 100), (100, 50), (100, 149)):
        assert tuple(drawn[y, x]) == colour
    assert (drawn[70:150, 60:140] == 100).all() and (drawn[170:] == 100).all() and (photo == 100).all()
    assert (drawn[40:60, 50:60] != 100).any()  # the words, above it


@pytest.mark.parametrize("box", [(-20.0, -5.0, 60.0, 60.0), (280.0, 150.0, 330.0, 230.0), (5.0, 5.0, 5.5, 5.5)])
def test_words_stay_on_the_photo(box: tuple[float, float, float, float]) -> None:
    drawn = np.array(with_boxes(grey(200, 300), [Drawn(box, 0, "a long name 0.90")]))
    there = np.argwhere((drawn == rgb(0)).all(2))
    assert np.ptp(there[:, 1]) > 50  # as wide as the words


def test_a_mask_lies_over_the_photo_and_the_best_lies_above() -> None:
    mask = np.zeros((100, 100), bool)
    mask[30:40, 30:40] = True
    first = Drawn((20.0, 20.0, 90.0, 90.0), 1, "b 0.9", mask)
    drawn = np.array(with_boxes(grey(100, 100), [first, Drawn((20.0, 20.0, 90.0, 90.0), 5, "c 0.2")]))
    np.testing.assert_allclose(drawn[35, 35], np.round((1 - SHARE) * 100 + SHARE * np.array(rgb(1))), atol=1)
    assert tuple(drawn[89, 50]) == rgb(1) and tuple(drawn[60, 60]) == (100, 100, 100)


def test_every_pixel_under_the_colour_of_its_class() -> None:
    labels = np.array([[0, 1], [2, 1]])
    drawn = np.array(with_classes(grey(2, 2), labels))
    for at in np.ndindex(2, 2):
        np.testing.assert_allclose(drawn[at], (1 - SHARE) * 100 + SHARE * np.array(rgb(int(labels[at]))), atol=1)
    assert palette(45)[:3] == [rgb(0), rgb(1), rgb(2)] and len(palette(45)) == 45
