"""`python -m gencomp.train RECIPE`, and so `accelerate launch -m gencomp.train RECIPE`."""

import sys

from gencomp.processes import forget_working_folder

forget_working_folder()

from .cli import main  # noqa: E402

sys.exit(main())
