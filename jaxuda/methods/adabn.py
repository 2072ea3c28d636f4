"""The AdaBN control: source-only that also forwards the target.

Nothing is asked of the target's outputs, but its statistics enter the running
batch norm as in every adversarial method. What a method gains over this
control is what its loss gains.
"""

from jaxuda.methods import Method

METHOD = Method(streams=('source', 'target'))
