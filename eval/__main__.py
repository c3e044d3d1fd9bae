"""`python -m gencomp.eval` and `accelerate launch -m gencomp.eval`: the same as `gencomp eval`, for many processes."""

import sys

from gencomp.cli.main import main

if __name__ == "__main__":
    main(["eval", *sys.argv[1:]], prog_name="gencomp")
