"""Image volumes: one file a format, all answering `Volume`."""
