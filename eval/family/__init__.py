"""`gencomp family`: every chapter of the field trained with one budget, measured as any codec, shown on one page."""
