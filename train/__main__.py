"""`python -m gencomp.train RECIPE`, and so `accelerate launch -m gencomp.train RECIPE`."""

import sys

from .cli import main

sys.exit(main())
