"""EdgeFirst Dataset Format: one row per annotation in an Arrow (or Parquet) file, sensor files beside it.

``table`` reads a file and refuses what lies, ``rows`` makes rows of annotations and ``documents``
annotations of rows, ``writing`` fills a table of any size, ``dataset`` opens a table with its files.
``from_coco`` and ``to_coco`` convert whole files without a database.
"""
