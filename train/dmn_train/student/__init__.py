"""A student of another size: who teaches it, what it costs, how far it agrees (docs/distillation.md)."""
