#!/usr/bin/env python3
"""Makes soft.jpg and soft.rgb (its pixels by Pillow, width 24, height 16): needs Pillow and numpy."""
import numpy as np
from PIL import Image

y, x = np.mgrid[0:16, 0:24]
Image.fromarray(np.stack([x * 10, y * 15, 255 - x * 5 - y * 5], -1).astype(np.uint8)).save("soft.jpg", quality=85, subsampling=2)
open("soft.rgb", "wb").write(np.asarray(Image.open("soft.jpg").convert("RGB")).tobytes())
