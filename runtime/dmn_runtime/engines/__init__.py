"""Engines: what runs the network, all offering `Engine`."""
