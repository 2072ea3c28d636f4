"""From raw files to prepared records; the datasets themselves are in data/."""
