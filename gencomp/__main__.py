"""`python -m gencomp` is the command `gencomp`."""

from gencomp.processes import forget_working_folder

forget_working_folder()

from gencomp.cli.main import main  # noqa: E402

main(prog_name="gencomp")
