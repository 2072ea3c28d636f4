"""The figures of a run: a few examples, and what its networks predict."""

import dataclasses
import io
import pathlib

import jax
import numpy as np
from PIL import Image

from jaxuda import input as input_lib
from jaxuda import labels
from jaxuda.evaluation import inference
from jaxuda.evaluation.scores import Scores
from jaxuda.figures import confusion, segmentation
from jaxuda.input import from_config
from jaxuda.utils.errors import UserError

PANELS = 'panels'  # the folder of single pictures, NUMBER-NAME.png


@dataclasses.dataclass(frozen=True)
class Example:
  """An image, with what is known of it.

  Attributes:
    image: u8[H, W, 3].
    label: u8[h, w] class indices of the model's space, or None.
  """

  image: np.ndarray
  label: np.ndarray | None


def examples(
  records: input_lib.Records,
  space: str,
  count: int,
  scored_in: str | None = None,
) -> list[Example]:
  """Return `count` examples, spread evenly over the split.

  Args:
    records: the split.
    space: name of the class space of their labels.
    count: how many.
    scored_in: see labels.id_map.
  """
  lookup = labels.id_map(records.encoding, space, scored_in)
  found = []
  for index in records.spread(min(count, len(records))):
    features = records.parse(index)
    image = np.asarray(Image.open(io.BytesIO(features['image'])).convert('RGB'))
    stored = features['label_full'] or features['label']
    label = None
    if stored:
      label = lookup[np.asarray(Image.open(io.BytesIO(stored)))]
    found.append(Example(image, label))
  return found


def open_source(config) -> input_lib.Records | None:
  """Open the source of an experiment, or print why figures do not show it."""
  try:
    return from_config.open_streams(config, ['source'])['source'].records
  except UserError as e:
    print(f'entropy.png shows the target alone: {e}')
    return None


class FigureWriter:
  """Draws what an experiment's networks predict of fixed examples.

  That is always of the image as it is, at its own size: `eval.scales` and
  `eval.flip` are for scores.
  """

  def __init__(self, config, net, target: input_lib.Records):
    """Read the examples.

    Args:
      config: the experiment's.
      net: its segmenter.
      target: the records that are evaluated.
    """
    self._space = labels.space(config.classes)
    self._config = config
    self._target = examples(
      target, config.classes, config.num_log_images, config.eval.classes
    )
    self._segment = inference.jitted_segment(net, config.eval.upsample)

  def panels(self, params: dict, batch_stats: dict) -> np.ndarray:
    """Return u8[N, H, W', 3]: image, prediction, ground truth and entropy."""
    panels = []
    for example in self._target:
      ids, entropy = self._predict(params, batch_stats, example)
      panels.append(
        segmentation.panel(
          example.image, ids, example.label, entropy, self._space
        )
      )
    height, width = np.max([p.shape[:2] for p in panels], axis=0)
    canvas = np.zeros((len(panels), height, width, 3), np.uint8)
    for i, panel in enumerate(panels):
      canvas[i, : panel.shape[0], : panel.shape[1]] = panel
    return canvas

  def draw(
    self,
    folder: pathlib.Path,
    source: input_lib.Records | None,
    networks: dict[str, tuple[dict, dict]],
    scores: Scores,
  ) -> None:
    """Draw the final figures, in the first process alone.

    Args:
      folder: where they go.
      source: records of the source domain, None to show the target alone.
      networks: name -> (params, batch_stats), the trained one last.
      scores: of the trained one; of no image where there are no labels.
    """
    shown = []
    if source is not None:
      shown = examples(
        source, self._config.classes, self._config.num_log_images
      )
    predicted = {
      name: [self._predict(*variables, e) for e in self._target]
      for name, variables in networks.items()
    }
    entropies = {
      name: (
        [self._predict(*variables, e)[1] for e in shown],
        [entropy for _, entropy in predicted[name]],
      )
      for name, variables in networks.items()
    }
    # Every process predicts, where the networks are spread over all of them.
    if jax.process_index() > 0:
      return
    *_, final = predicted.values()
    segmentation.qualitative(
      folder / 'qualitative.png',
      [
        segmentation.Row(
          e.image,
          [predicted[name][i][0] for name in predicted],
          e.label,
          final[i][1],
        )
        for i, e in enumerate(self._target)
      ],
      list(predicted),
      self._space,
    )
    segmentation.entropy_figure(
      folder / 'entropy.png',
      [e.image for e in shown],
      [e.image for e in self._target],
      entropies,
    )
    self._write_panels(folder / PANELS, predicted)
    if scores.images:
      confusion.counts(
        folder / 'confusion.png', scores.counts, scores.space.classes
      )

  def _write_panels(self, folder, predicted):
    """Write what the page of a run shows of each example, one by one."""
    names = list(predicted)
    for i, example in enumerate(self._target):
      ids, entropy = predicted[names[-1]][i]
      pictures = {'image': example.image}
      if len(names) > 1:
        before = predicted[names[0]][i][0]
        pictures['before'] = labels.colorize(before, self._space)
      pictures['after'] = labels.colorize(ids, self._space)
      if example.label is not None:
        pictures['truth'] = labels.colorize(example.label, self._space)
      pictures['entropy'] = segmentation.entropy_map(entropy)
      for name, picture in pictures.items():
        segmentation.write_png(folder / f'{i + 1}-{name}.png', picture)

  def _predict(self, params, batch_stats, example):
    """(u8[H, W] class indices, f32[H, W] entropy) at the image's size."""
    return jax.device_get(
      self._segment(
        params, batch_stats, example.image, size=example.image.shape[:2]
      )
    )
