"""What is measured: see README.md."""

import jaxuda  # noqa: F401 - whose handler of Ctrl-C comes before all else
