"""Follows objects through a video: which boxes of its frames are the same object.

protocol     what a tracker must offer
tracker      ours: two stages of association, in seconds instead of frames
motion       where objects are expected
association  how well boxes fit to what is expected
linking      what was lost and found again
looks        how alike two objects look
"""
