"""Whatever the bytes: what reads them answers, or refuses as its docstring says (`make fuzz`)."""
