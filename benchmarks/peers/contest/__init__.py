"""The contest: who takes part, in what environment, on what material, and what came of it."""
