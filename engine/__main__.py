"""`python -m prefetch_scheduler.engine`: the command line, where its script is not on the path."""

import sys

from prefetch_scheduler.engine.cli.main import main

sys.exit(main())
