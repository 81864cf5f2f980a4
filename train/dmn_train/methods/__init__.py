"""Training methods: one file a method, with its paper and equation; `table.py` names them."""
