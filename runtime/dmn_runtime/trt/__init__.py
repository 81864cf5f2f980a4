"""TensorRT: plans for `tensorrt` 11 and `tensorrt_rtx`, one code for both (docs/tensorrt.md)."""
