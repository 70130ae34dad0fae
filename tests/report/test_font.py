"""Pictures have words where Pillow was built without FreeType, too."""

import numpy as np
import pytest
from PIL import ImageFont, features
from PIL._util import DeferredError

from resmom.report.drawn import Drawn, rgb, with_boxes
from resmom.report.font import font
from resmom.report.sheet import Shown, sheet


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow as it is without FreeType."""
    monkeypatch.setattr(features, "check", lambda name: name != "freetype2")
    monkeypatch.setattr(ImageFont, "core", DeferredError.new(ImportError("The _imagingft C module is not installed")))


def test_the_font_has_any_size_with_freetype() -> None:
    assert font(20).getlength("moss") > 1.5 * font(10).getlength("moss")


@pytest.mark.usefixtures("plain")
def test_words_without_freetype() -> None:
    """In any script: what the letters lack becomes a question mark."""
    photo = np.full((200, 300, 3), 100, np.uint8)
    widths = []
    for words in ("moss", "мох!"):
        drawn = np.array(with_boxes(photo, [Drawn((50.0, 60.0, 150.0, 160.0), 2, words)]))
        widths.append(np.ptp(np.argwhere((drawn[40:60] == rgb(2)).all(2))[:, 1]))
    assert (drawn[45:60, 50:60] != 100).any() and widths[0] == widths[1]
    view = photo[:16, :16]
    one, two = (sheet([Shown(photo, [[view]], [])], [words]) for words in ("", "words"))
    assert one.height < two.height
