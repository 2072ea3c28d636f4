"""What unlabelled target images tell of a network: alarms, not a score.

Each measure is of the images as they are read for training, without
augmentation. None of them says how good a network is: self-training lowers its
own entropy, and networks agree on what all of them get wrong. They say when
something breaks (alarms.py), and docs/unlabelled.md how they rank networks
beside mIoU.
"""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from jaxuda import labels
from jaxuda.evaluation import inference
from jaxuda.input import Records, decode
from jaxuda.models.segmenter import Segmenter
from jaxuda.utils import files, xla
from jaxuda.utils.console import print_once
from jaxuda.utils.errors import UserError

PIXELS = 128  # of each image, of which probabilities are kept
LAST = 10  # evaluations that EnsV is over
SURE = 0.968  # of a pixel's likeliest class: DACS's threshold

FOLDER = 'unlabelled'  # of a run: the kept probabilities of each evaluation


class Unlabelled:
  """Measures networks on some images of the target's training split.

  They are spread evenly over it.
  """

  def __init__(
    self, net: Segmenter, config, records: Records, workdir: pathlib.Path
  ):
    """Read the images.

    Args:
      net: the segmenter.
      config: the experiment's; reads `classes`, `eval.upsample` and
        `num_unlabelled_images`.
      records: the target's; labels that they may have are not read.
      workdir: the run's folder.

    Raises:
      UserError: an image cannot be read; names it.
    """
    self._classes = labels.space(config.classes).classes
    self._folder = workdir / FOLDER
    count = min(config.num_unlabelled_images, len(records))
    indices = records.spread(count)
    examples = decode.decoded(records, indices, decode.decoder(records, None))
    self._images = [example['image'] for example in examples]
    rng = np.random.default_rng(0)  # the same pixels in every run
    self._pixels = [
      rng.integers(0, image.shape[0] * image.shape[1], PIXELS)
      for image in self._images
    ]
    self._view = _jitted_view(net, config.eval.upsample)

  def measure(
    self, step: int, network: tuple, other: tuple | None = None
  ) -> dict[str, float]:
    """Measure a network; the first process keeps its probabilities.

    Args:
      step: of the network, by which what is kept is named.
      network: (params, batch_stats) of the one that is scored.
      other: of its teacher, or of the segmenter where the teacher is scored;
        None where there is no other.

    Returns:
      'target/entropy': the mean entropy of a pixel, in 0..1.
      'target/confident_share': of pixels with a probability of SURE or more.
      'target/flip_agreement': the share of pixels whose class stays when the
        image is mirrored.
      'target/teacher_agreement': the same of the other network.
      'target/ensv': the share of the kept pixels in which the network agrees
        with the mean of the last evaluations up to this one (EnsV); from the
        second one on.
      'share/<class>': the share of pixels that are predicted as a class.
    """
    found = [
      self._of_image(image, pixels, network, other)
      for image, pixels in zip(self._images, self._pixels, strict=True)
    ]
    means = {
      f'target/{name}': float(np.mean([one[name] for one in found]))
      for name in found[0]
      if name not in ('counts', 'probabilities')
    }
    shares = np.mean([one['counts'] / one['counts'].sum() for one in found], 0)
    means |= {
      f'share/{name.replace(" ", "_")}': float(share)
      for name, share in zip(self._classes, shares, strict=True)
    }
    kept = np.concatenate([one['probabilities'] for one in found])
    if jax.process_index() == 0 and self._keep(step, kept):
      agreement = ensv(self._folder)
      if len(agreement) > 1:
        means['target/ensv'] = agreement[step]
    return means

  def _keep(self, step, probabilities) -> bool:
    """Write f16[N, C]; a full disk costs a warning, and the measure."""
    try:
      files.write_array(
        self._folder / f'{step}.npz', probabilities.astype(np.float16)
      )
    except UserError as e:
      logging.warning('%s', e)
      return False
    return True

  def _of_image(self, image, pixels, network, other):
    ids, entropy, sure, kept = jax.device_get(
      self._view(*network, image, pixels)
    )
    mirrored = jax.device_get(self._view(*network, image[:, ::-1], pixels)[0])
    found = {
      'entropy': entropy,
      'confident_share': sure,
      'flip_agreement': (ids == mirrored[:, ::-1]).mean(),
      'counts': np.bincount(ids.ravel(), minlength=len(self._classes)),
      'probabilities': kept,
    }
    if other is not None:
      others = jax.device_get(self._view(*other, image, pixels)[0])
      found['teacher_agreement'] = (ids == others).mean()
    return found

  def resume(self, step: int) -> None:
    """Forget the evaluations after a step, which will be made again."""
    if jax.process_index() == 0:
      for later, path in _kept(self._folder).items():
        if later > step:
          files.remove(path)


@functools.cache
def _jitted_view(net, upsample):
  """Return (params, batch_stats, image, pixels) -> what one view shows.

  That is u8[H, W] class indices, the mean entropy, the share of sure pixels and
  the probabilities of some pixels, f32[PIXELS, C].
  """

  def view(params, batch_stats, image, pixels):
    p = inference.one_view(
      *(params, batch_stats, image[None]),
      net=net,
      size=image.shape[:2],
      upsample=upsample,
    )[0]
    return (
      jnp.argmax(p, -1).astype(jnp.uint8),
      inference.entropy(p).mean(),
      (p.max(-1) >= SURE).mean(),
      p.reshape(-1, p.shape[-1])[pixels],
    )

  return xla.jit(view)


def ensv(folder: pathlib.Path) -> dict[int, float]:
  """Return how far each of a run's last evaluations agrees with their mean.

  (Hu et al., "Towards Reliable Model Selection for Unsupervised Domain
  Adaptation", NeurIPS 2024: the mean of all candidates' probabilities labels
  the pixels, and the candidate that agrees most is taken.)

  Those that are damaged, or of other images, are left out, which is printed.

  Args:
    folder: <run>/unlabelled.

  Returns:
    step -> the share of the kept pixels, in 0..1; {} where nothing is kept.
  """
  kept: dict[int, np.ndarray] = {}
  for step, path in list(_kept(folder).items())[: -LAST - 1 : -1]:
    try:
      found = files.read_array(path)
    except UserError as e:
      print_once(f'note: {e} It is left out of EnsV.')
      continue
    newest = next(iter(kept.values()), found)
    if (found.shape, found.dtype) == (newest.shape, np.float16):
      kept[step] = found
    else:
      print_once(f'note: {path} is of other images: it is left out of EnsV.')
  if not kept:
    return {}
  total = sum(p.astype(np.float32) for p in kept.values())
  proxy = total.argmax(-1)
  return {
    step: float((p.argmax(-1) == proxy).mean())
    for step, p in reversed(kept.items())
  }


def _kept(folder) -> dict[int, pathlib.Path]:
  """{step: file} of a folder, ascending."""
  paths = [p for p in folder.glob('*.npz') if p.stem.isdecimal()]
  return {int(p.stem): p for p in sorted(paths, key=lambda p: int(p.stem))}
