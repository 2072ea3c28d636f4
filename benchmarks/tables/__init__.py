"""What the methods gain: tables of trained runs, and their figures."""
