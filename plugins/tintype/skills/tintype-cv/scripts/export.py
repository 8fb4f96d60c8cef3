"""Makes an export of a dataset, waits for it, and saves it as a ZIP file."""

from __future__ import annotations

import argparse

from tintype_command import finish, tintype


def main() -> None:
    """Create, then download."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--name", required=True, help="of the export; a date helps")
    parser.add_argument("--output", required=True, help="ZIP file to write")
    parser.add_argument("--format", default="pictograph")
    parser.add_argument("--no-images", action="store_true")
    parser.add_argument("--class-filter", action="append", default=[], metavar="CLASS")
    parser.add_argument("--status-filter", default="complete")
    given = parser.parse_args()
    flags = ["--format", given.format, "--status", given.status_filter, "--timeout", "3600"]
    flags += ["--no-images"] if given.no_images else []
    for name in given.class_filter:
        flags += ["--class", name]
    made = tintype("exports", "create", given.dataset, given.name, *flags, "--json")
    if made["status"] != "completed":
        finish(made, ok=False)
    saved = tintype("exports", "download", given.dataset, given.name, "-o", given.output, "--json")
    finish({**saved, "export": made}, ok=True)


if __name__ == "__main__":
    main()
