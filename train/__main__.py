"""`python -m gencomp.train RECIPE`, and so `accelerate launch -m gencomp.train RECIPE`: the verb `train` alone."""

import sys

from gencomp.cli.main import main

main(["train", *sys.argv[1:]], prog_name="gencomp")
