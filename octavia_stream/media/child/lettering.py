"""Text → a stamp to be laid over a picture: white letters with a dark edge, at the foot, in the middle."""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

_FONT = Path(__file__).parent / "fonts" / "DejaVuSans.ttf"
_OF_HEIGHT = 1 / 18
"""How high a letter stands, as a share of the picture's height."""
_OF_WIDTH = 1 / 24
"""The same as a share of its width: two lines must not fill a picture that stands upright."""
_SMALLEST = 8
_MARGIN = 0.05
"""Left free at every side."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What is laid over a picture, and where; all of it even, for the colours of a picture come by fours."""

    top: int
    left: int
    ink: NDArray[np.float32]
    """Shape (rows, columns): 0 is black, 1 white."""
    cover: NDArray[np.float32]
    """The same shape: 0 lets the picture through, 1 hides it."""


class Letterer:
    """Makes stamps for pictures of one size. To be made before files are out of reach: it reads its font."""

    def __init__(self) -> None:
        self._font = _FONT.read_bytes()
        # Whatever Pillow loads lazily is loaded now.
        self.stamp("Ag", 320, 240)

    def stamp(self, text: str, width: int, height: int) -> Stamp:
        """Lay out lines as they are, smaller where they would not fit."""
        size = max(round(min(height * _OF_HEIGHT, width * _OF_WIDTH)), _SMALLEST)
        room_w, room_h = width * (1 - 2 * _MARGIN), height * (1 - 2 * _MARGIN)
        left, top, right, bottom = self._box(text, size)
        fits = min(room_w / max(right - left, 1), room_h / max(bottom - top, 1), 1.0)
        size = max(int(size * fits), 1)
        left, top, right, bottom = self._box(text, size)
        columns, rows = _even(min(right - left, width)), _even(min(bottom - top, height))
        image = Image.new("LA", (columns, rows))
        ImageDraw.Draw(image).multiline_text(
            (-left, -top), text, (255, 255), self._sized(size), align="center", stroke_width=_edge(size),
            stroke_fill=(0, 255),
        )  # fmt: skip
        pixels = np.asarray(image, np.float32) / np.float32(255)
        x = max((width - columns) // 4 * 2, 0)
        y = max((height - rows - round(height * _MARGIN)) // 2 * 2, 0)
        return Stamp(y, x, pixels[..., 0], pixels[..., 1])

    def _box(self, text: str, size: int) -> tuple[int, int, int, int]:
        draw = ImageDraw.Draw(Image.new("LA", (1, 1)))
        box = draw.multiline_textbbox((0, 0), text, self._sized(size), align="center", stroke_width=_edge(size))
        return int(np.floor(box[0])), int(np.floor(box[1])), int(np.ceil(box[2])), int(np.ceil(box[3]))

    def _sized(self, size: int) -> ImageFont.FreeTypeFont:
        # The other layout engine looks for a library of the system, which is out of reach.
        return ImageFont.truetype(BytesIO(self._font), size, layout_engine=ImageFont.Layout.BASIC)


def _edge(size: int) -> int:
    return max(size // 14, 1)


def _even(length: int) -> int:
    return max((length + 1) // 2 * 2, 2)
