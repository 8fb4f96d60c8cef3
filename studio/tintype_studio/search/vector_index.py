"""An inverted-file index over very many vectors (faiss), kept beside their file and made again at need.

It finds candidates by 8-bit copies of the vectors in the cells nearest to the query; the caller compares
those exactly. Vectors that came after the index was built are candidates as they are. Without faiss (the
extra ``index``) every vector is a candidate, and the search stays exact.
"""

from __future__ import annotations

import math
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tintype_studio.search.vector_files import Mapped, VectorFiles

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PROBES = 64
"""Cells that a search looks into."""

OVERSAMPLING = 10
"""Candidates for each wanted neighbour; the exact cosines choose among them."""

STALE_SHARE = 0.2
"""The index is built anew once this share of the vectors came after it."""

_TRAINING = 64
"""Vectors per cell from which the cells are learnt."""

_ADDED = 32_768

_opened: dict[Path, Any] = {}
_guard = threading.Lock()


def candidates(
    files: VectorFiles, mapped: Mapped, query: NDArray[np.float32], count: int
) -> NDArray[np.int64] | None:
    """Rows that may hold the ``count`` nearest vectors; None for all, where no index is at hand."""
    import numpy as np

    index = _load(files, mapped)
    if index is None:
        return None
    wanted = min(index.ntotal, count * OVERSAMPLING)
    _, found = index.search(query[None], wanted)
    later = np.arange(index.ntotal, mapped.state.count)
    return np.concatenate([np.sort(found[0][found[0] >= 0]), later]).astype(np.int64)


def build(files: VectorFiles, mapped: Mapped) -> bool:
    """Make the index if it is missing or stale; whether there is one now. Takes minutes for a million."""
    index = _load(files, mapped)
    count = mapped.state.count
    if index is not None and count - index.ntotal <= STALE_SHARE * count:
        return True
    try:
        import faiss
    except ImportError:
        return False
    import numpy as np

    dimensions = mapped.state.dimensions
    cells = max(16, round(math.sqrt(count)))
    quantizer = faiss.IndexFlatIP(dimensions)
    made = faiss.IndexIVFScalarQuantizer(
        quantizer, dimensions, cells, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
    )
    made.cp.niter = 10
    chosen = np.sort(np.random.default_rng(0).choice(count, min(count, _TRAINING * cells), replace=False))
    made.train(np.ascontiguousarray(mapped.vectors[chosen]))
    for start in range(0, count, _ADDED):
        made.add(np.ascontiguousarray(mapped.vectors[start : start + _ADDED]))
    path = _path(files, mapped)
    temporary = path.with_name(f"{path.name}.new")
    try:
        faiss.write_index(made, str(temporary))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    with _guard:
        _opened.pop(path, None)
    return True


def _path(files: VectorFiles, mapped: Mapped) -> Path:
    return files.path(mapped.state, "index")


def _load(files: VectorFiles, mapped: Mapped) -> Any:
    """The index over the first rows of the files, or None."""
    path = _path(files, mapped)
    try:
        written = path.stat().st_mtime_ns
    except OSError:
        return None
    with _guard:
        known = _opened.get(path)
        if known is not None and known[0] == written:
            return known[1]
        try:
            import faiss

            index: Any = faiss.read_index(str(path), faiss.IO_FLAG_MMAP)
        except (ImportError, RuntimeError):  # not installed, or damaged
            return None
        if index.d != mapped.state.dimensions or index.ntotal > mapped.state.count:
            return None
        index.nprobe = PROBES
        _opened.clear()
        _opened[path] = (written, index)
        return index
