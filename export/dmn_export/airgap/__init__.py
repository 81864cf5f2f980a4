"""One folder for a PC without network: package, wheels, install scripts, a README (docs/air-gapped.md)."""
