"""Source-only: cross entropy on the labelled domain and nothing else.

The target is not even forwarded, because that alone would move the running
batch-norm statistics towards it.
"""

from jaxuda.methods import Method

METHOD = Method(streams=('source',))
