"""What tests of a sweep's report share: a picture of samples, and a page as its reader sees it."""

from html.parser import HTMLParser

import numpy as np
from matplotlib import image


def samples(file, title=True):
    """A picture as runs leave it: a title, and below it two rows of dark squares on white."""
    picture = np.ones((100, 200))
    if title:
        picture[2:5, 80:120] = 0
    for top in (20, 60):
        for left in range(10, 190, 40):
            picture[top : top + 30, left : left + 30] = 0.2
    file.parent.mkdir(exist_ok=True)
    image.imsave(file, picture, cmap="gray", vmin=0, vmax=1, format="png")


class Page(HTMLParser):
    """What a page shows and what it would load."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.sources, self.text, self.attributes = [], [], "", []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href", "srcset", "data")]
        self.attributes += [(tag, *attribute) for attribute in attrs]

    def handle_data(self, data):
        self.text += data
