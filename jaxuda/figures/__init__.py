"""Figures: arrays in, PNG files out; nothing here knows a network."""
