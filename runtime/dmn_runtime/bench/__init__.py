"""`dmn bench`: the network alone, the kernels alone and the whole run, beside what the machine can do."""
