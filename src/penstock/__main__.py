"""``python -m penstock`` is ``penstock``."""

import sys

from penstock.cli.app import main

sys.exit(main())
