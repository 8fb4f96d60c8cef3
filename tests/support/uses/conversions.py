"""What every door does with conversions: COCO becomes a table, the table COCO again."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from support.doors import Refused

COCO = {
    "images": [{"id": 4, "file_name": "b/a.jpg", "width": 64, "height": 48}],
    "categories": [{"id": 7, "name": "car"}],
    "annotations": [
        {"id": 3, "image_id": 4, "category_id": 7, "bbox": [1, 2, 10, 20], "area": 200, "iscrowd": 0}
    ],
}


def use_convert_dataset(door: Any, world: Any) -> None:
    source, table, back = (world.folder / name for name in ("in.json", "t.arrow", "out.json"))
    source.write_bytes(orjson.dumps(COCO))
    arguments = {"source_path": str(source), "output_path": str(table)}
    value = door.call("convert_dataset", arguments).value
    assert (value["format"], value["images"], value["annotations"]) == ("edgefirst", 1, 1)
    assert value["file_size"] == table.stat().st_size
    value = door.call("convert_dataset", {"source_path": str(table), "output_path": str(back)}).value
    assert (value["format"], value["categories"], value["left_out"]) == ("coco", 1, 0)
    assert orjson.loads(back.read_bytes()) == {"info": {}, "licenses": [], **COCO}
    with pytest.raises(Refused) as refused:
        door.call("convert_dataset", arguments | {"output_path": str(world.folder / "x.json")})
    assert refused.value.shape["code"] == "unsupported_conversion"
