"""The GPU: what is there, and how its memory and kernels are reached."""
