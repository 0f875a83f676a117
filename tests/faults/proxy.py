"""microburst, with one fault of its own mended: `python proxy.py --upstream URL --port N`."""

from __future__ import annotations

import sys

from microburst import forward
from microburst.cli import main

# Version 0.10 drops Content-Length as if it were the connection's own: HeadObject and GetObject then tell no size.
forward.HOP_BY_HOP = forward.HOP_BY_HOP - {"content-length"}
sys.exit(main())
