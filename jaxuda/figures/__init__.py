"""Pictures as PNG files: arrays in, files out; no network is known here."""
