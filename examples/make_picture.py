#!/usr/bin/env python3
"""make_picture.py OUT.ppm [WIDTH HEIGHT]: a picture to try palette on: a sky, hills, a sun and its light.
Standard library only; the same bytes every time."""
import math
import sys


def mix(a, b, t):
    t = min(max(t, 0.0), 1.0)
    return tuple(u + (v - u) * t for u, v in zip(a, b))


def pixel(x, y):
    """x, y in 0..1, y downwards."""
    sun = math.hypot((x - 0.68) * 1.6, y - 0.30)
    colour = mix((38, 60, 130), (250, 190, 130), y / 0.62)
    colour = mix((255, 244, 200), colour, (sun - 0.07) * 3.2)
    hills = [(0.60, 0.05, 7.0, 0.4, (92, 92, 140)), (0.70, 0.06, 5.0, 2.1, (70, 96, 84)),
             (0.82, 0.05, 9.0, 4.0, (44, 70, 40))]
    for base, height, waves, phase, ground in hills:
        top = base + height * math.sin(waves * x + phase) + 0.015 * math.sin(31.0 * x + 5.0 * phase)
        if y > top:
            shade = 0.75 + 0.25 * math.sin(40.0 * (x + y) + phase) * math.sin(23.0 * x - 17.0 * y)
            colour = mix((0, 0, 0), mix(ground, (250, 200, 140), 0.5 * (0.1 - (y - top))), shade)
    return bytes(int(min(max(c, 0.0), 255.0) + 0.5) for c in colour)


def main():
    path = sys.argv[1]
    width, height = (int(sys.argv[2]), int(sys.argv[3])) if len(sys.argv) == 4 else (192, 128)
    with open(path, "wb") as f:
        f.write(b"P6\n%d %d\n255\n" % (width, height))
        for y in range(height):
            f.write(b"".join(pixel((x + 0.5) / width, (y + 0.5) / height) for x in range(width)))


main()
