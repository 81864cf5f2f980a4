"""Many trainings as one question: planned, run, scored on labelled test volumes and reported."""
