"""The one place that holds the version; the changelog must name it."""

__version__ = "0.1.0"
