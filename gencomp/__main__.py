"""`python -m gencomp` is the command `gencomp`."""

from gencomp.cli import main

main(prog_name="gencomp")
