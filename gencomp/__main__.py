"""`python -m gencomp` is the command `gencomp`."""

from gencomp.cli.main import main

main(prog_name="gencomp")
