"""EdgeFirst Dataset Format: one row per annotation in an Arrow (or Parquet) file, sensor files beside it.

``table`` reads a file and refuses what lies, ``rows`` turns rows into our documents and back, ``writing`` fills
an ``.arrow`` and a ``.zip``, ``dataset`` opens such a pair or a folder. ``from_coco`` and ``to_coco`` convert
whole files without a database.
"""
