"""A trained network on images: inference, counting, scores, pictures."""
