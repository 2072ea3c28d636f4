"""Trained networks on images: inference, scores, figures and predictions."""
