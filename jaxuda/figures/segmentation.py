"""Segmented images: entropy maps, overlays, panels, and the figures of a run.

Arrays in, arrays or PNG files out. matplotlib is imported where it is used: it
takes a second.
"""

import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from jaxuda import labels
from jaxuda.figures import page
from jaxuda.utils import files

_GAP = 4  # pixels between the pictures of a panel
_LEGEND_ROWS = 20
_BLANK = 200  # the grey of a panel's ground truth where there is none


class Row(NamedTuple):
  """One image of a qualitative figure.

  Attributes:
    image: u8[H, W, 3].
    predictions: u8[H, W] class indices of each network, 255 where ignored.
    label: u8[h, w] class indices, 255 where ignored; None if unknown.
    entropy: f32[H, W] in 0..1, of the last network.
  """

  image: np.ndarray
  predictions: Sequence[np.ndarray]
  label: np.ndarray | None
  entropy: np.ndarray


def entropy_map(entropy: np.ndarray) -> np.ndarray:
  """Paint f32[H, W] in 0..1 as u8[H, W, 3], from purple (0) to yellow (1)."""
  import matplotlib

  return matplotlib.colormaps[page.COLORMAP](entropy, bytes=True)[..., :3]


def overlay(
  image: np.ndarray,
  ids: np.ndarray,
  space: labels.LabelSpace,
  alpha: float = 0.5,
) -> np.ndarray:
  """Lay class colours over an image; ignored pixels stay as they are.

  Args:
    image: u8[H, W, 3].
    ids: u8[H, W] class indices, 255 where ignored.
    space: of the indices.
    alpha: opacity of the colours, 0..1.

  Returns:
    u8[H, W, 3].
  """
  colors = labels.colorize(ids, space).astype(np.float32)
  alpha = np.where(ids == labels.IGNORE, 0, np.float32(alpha))[..., None]
  return np.rint(image + alpha * (colors - image)).astype(np.uint8)


def panel(
  image: np.ndarray,
  ids: np.ndarray,
  label: np.ndarray | None,
  entropy: np.ndarray,
  space: labels.LabelSpace,
) -> np.ndarray:
  """Put image, prediction, ground truth and entropy side by side.

  Args:
    image: u8[H, W, 3].
    ids: u8[H, W] predicted class indices.
    label: u8[h, w] true ones, 255 where ignored, which are resized (nearest) to
      H x W; None leaves a grey field.
    entropy: f32[H, W] in 0..1.
    space: of the indices.

  Returns:
    u8[H, 4 W + 12, 3], with white gaps.
  """
  height, width = image.shape[:2]
  truth = np.full_like(image, _BLANK)
  if label is not None:
    fitted = Image.fromarray(label).resize((width, height), Image.NEAREST)
    truth = labels.colorize(np.asarray(fitted), space)
  gap = np.full((height, _GAP, 3), 255, np.uint8)
  parts = [
    image,
    gap,
    labels.colorize(ids, space),
    gap,
    truth,
    gap,
    entropy_map(entropy),
  ]
  return np.concatenate(parts, axis=1)


def qualitative(
  path: str | pathlib.Path,
  rows: Sequence[Row],
  titles: Sequence[str],
  space: labels.LabelSpace,
  shade: str = 'entropy',
) -> None:
  """Draw images, predictions, ground truth and entropy (ACCV 2020, Fig. 4).

  Args:
    path: of the PNG.
    rows: one for each image.
    titles: names of the networks, in the order of `Row.predictions`.
    space: of all indices.
    shade: what `Row.entropy` holds; 'confidence' of pseudo labels.

  Raises:
    UserError: the file cannot be written.
  """
  labelled = any(row.label is not None for row in rows)
  names = ['image', *titles, *(['ground truth'] * labelled)]
  names.append(f'entropy, {titles[-1]}' if shade == 'entropy' else shade)
  ignored = any(
    ids is not None and (ids == labels.IGNORE).any()
    for row in rows
    for ids in (row.label, *row.predictions)
  )
  entries = list(zip(space.classes, space.colors / 255, strict=True))
  entries += [('ignored', (0, 0, 0))] * ignored
  # The legend takes the page's width but for the entropy's colour bar.
  cell = page.cell_width(len(names))
  per_line = max(1, int((len(names) - 1) * cell / 1.2))
  lines = math.ceil(len(entries) / per_line)
  figure, axes = page.grid(
    [_aspect(row) for row in rows],
    columns=names,
    foot=max(lines, 2) * page.LINE + 0.15,
  )
  for row, line in zip(rows, axes, strict=True):
    maps = [labels.colorize(ids, space) for ids in row.predictions]
    if labelled:
      known = row.label is not None
      maps.append(labels.colorize(row.label, space) if known else None)
    for axis, picture in zip(
      line, [row.image, *maps, entropy_map(row.entropy)], strict=True
    ):
      page.show(axis, picture, 'auto')
  _legend(figure, entries, per_line)
  width, _ = figure.get_size_inches()
  left = width - page.MARGIN - 0.95 * cell
  unit = 'entropy / log C' if shade == 'entropy' else shade
  page.color_bar(figure, left, 0.9 * cell, unit)
  page.save(path, figure)


def _aspect(row: Row) -> float:
  """Return a scene's height over its width: labels have its own size."""
  height, width = (row.image if row.label is None else row.label).shape[:2]
  return height / width


def legend(path: str | pathlib.Path, space: labels.LabelSpace) -> None:
  """Draw the classes' colours with their indices and names.

  Raises:
    UserError: the file cannot be written.
  """
  import matplotlib.figure

  rows = zip(space.classes, space.colors / 255, strict=True)
  entries = [(f'{i}  {name}', color) for i, (name, color) in enumerate(rows)]
  columns = math.ceil(len(entries) / _LEGEND_ROWS)
  width = columns * 2.2 + 2 * page.MARGIN
  height = 0.19 * min(len(entries), _LEGEND_ROWS) + page.MARGIN
  figure = matplotlib.figure.Figure(figsize=(width, height), dpi=page.DPI)
  _legend(figure, entries, columns)
  page.save(path, figure)


def _legend(figure, entries, per_line):
  """Name colours in the page's foot, so many in a line."""
  import matplotlib.patches

  width, height = figure.get_size_inches()
  figure.legend(
    handles=[
      matplotlib.patches.Patch(facecolor=color, label=name)
      for name, color in entries
    ],
    loc='lower left',
    bbox_to_anchor=(page.MARGIN / width, 0.05 / height),
    ncols=per_line,
    frameon=False,
    fontsize=10,
    handlelength=1.2,
    borderpad=0,
    borderaxespad=0,
    columnspacing=1.2,
    labelspacing=0.35,
  )


def entropy_figure(
  path: str | pathlib.Path,
  source: Sequence[np.ndarray],
  target: Sequence[np.ndarray],
  entropies: Mapping[str, tuple[Sequence[np.ndarray], Sequence[np.ndarray]]],
) -> None:
  """Draw the entropy of predictions on both domains (ACCV 2020, Fig. 6).

  Args:
    path: of the PNG.
    source, target: u8[H, W, 3] images of each domain.
    entropies: a network's name to its f32[H, W] maps of the source images and
      of the target images; the networks are shown in this order.

  Raises:
    UserError: the file cannot be written.
  """
  images = [*source, *target]
  aspect = max(image.shape[0] / image.shape[1] for image in images)
  figure, axes = page.grid(
    [aspect] * (1 + len(entropies)),
    columns=['source'] * len(source) + ['target'] * len(target),
    rows=['image', *(f'entropy, {name}' for name in entropies)],
    foot=0.65,
  )
  for axis, image in zip(axes[0], images, strict=True):
    page.show(axis, image)
  for line, maps in zip(axes[1:], entropies.values(), strict=True):
    for axis, values in zip(line, [*maps[0], *maps[1]], strict=True):
      page.show(axis, entropy_map(values))
      axis.text(
        0.98,
        0.04,
        f'mean {values.mean():.2f}',
        transform=axis.transAxes,
        ha='right',
        fontsize=9,
        color='white',
        bbox={'facecolor': 'black', 'alpha': 0.6, 'pad': 2, 'linewidth': 0},
      )
  width = figure.get_size_inches()[0]
  length = min(4.0, 0.6 * width)
  page.color_bar(figure, (width - length) / 2, length)
  page.save(path, figure)


def write_png(path: str | pathlib.Path, image: np.ndarray) -> None:
  """Write u8[H, W] or u8[H, W, 3] whole as a PNG.

  Raises:
    UserError: the file cannot be written.
  """
  picture = Image.fromarray(image)
  # Run-length matching at level 1: four times as fast as Pillow's default on
  # smooth pictures, and no larger.
  quick = {'compress_level': 1, 'compress_type': 3}
  files.write(path, lambda file: picture.save(file, 'PNG', **quick))
