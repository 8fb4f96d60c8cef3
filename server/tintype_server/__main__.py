"""``python -m tintype_server`` is ``tintype``."""

from tintype_server.cli.main import main

main()
