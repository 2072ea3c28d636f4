"""From prepared records to uint8 batches.

    open_records -> train_batches | eval_batches -> prefetch

Everything that is random is a function of (seed, stream, position), so that
the batch of a step does not depend on where a run was started. TensorFlow is
imported when data is first read, not with this module.
"""

from jaxuda.input.augment import Augment
from jaxuda.input.decode import label_batches
from jaxuda.input.order import shuffled_epochs
from jaxuda.input.pipeline import batch_names, eval_batches, train_batches
from jaxuda.input.prefetch import prefetch
from jaxuda.input.records import Records, open_records
from jaxuda.input.stream import Stream

__all__ = [
  'Augment',
  'Records',
  'Stream',
  'batch_names',
  'eval_batches',
  'label_batches',
  'open_records',
  'prefetch',
  'shuffled_epochs',
  'train_batches',
]
