"""How attribute heads are trained, as the job must know it before there is anything to train."""

EPOCHS = 30
"""At most; each is an item of the job."""
BATCH = 64
"""Crops at a time; halves when memory runs out."""
SIZE = 96
"""Side of a crop, in pixels."""
SHARE = 0.2
"""Of a run's minutes that the detector leaves to them."""
