"""`python -m matting_anything_core.cli` is the command line."""

import sys

from . import main

sys.exit(main())
