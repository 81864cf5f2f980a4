"""The parts that method dismemnet wires; what each is stands in its own package and in docs/dismemnet.md."""
