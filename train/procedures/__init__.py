"""Training procedures: one file each. `contract.py` says what a procedure is; a row of `recipes.py` puts it to use."""
