"""The letters of pictures: Pillow's own font, of any size where Pillow was built with FreeType, else of one."""

from PIL import ImageFont, features

Font = ImageFont.ImageFont | ImageFont.FreeTypeFont


def font(size: int) -> Font:
    """The font at a size in pixels; without FreeType, which some builds of Pillow lack, always the same small one."""
    return ImageFont.load_default(size if features.check("freetype2") else None)


def in_letters(words: str, of: Font) -> str:
    """Words as the font can draw them: that without FreeType has the letters of Latin-1 alone, and ? for others."""
    return words if isinstance(of, ImageFont.FreeTypeFont) else words.encode("latin-1", "replace").decode("latin-1")
