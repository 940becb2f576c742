"""Image files to pixels, and pixels to the size that a network takes."""
