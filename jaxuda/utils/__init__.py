"""Small tools that know nothing of segmentation."""
