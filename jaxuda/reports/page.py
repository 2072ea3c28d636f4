"""One self-contained HTML page of one run or several: page.html, filled."""

import base64
import json
import pathlib
import re
from collections.abc import Sequence

import numpy as np

from jaxuda import config as config_lib
from jaxuda import labels, methods
from jaxuda.evaluation import figure_writer
from jaxuda.figures import charts
from jaxuda.reports.content import RunContent, read_all
from jaxuda.utils import console, files

_TEMPLATE = pathlib.Path(__file__).with_name('page.html')
_PICTURES = ('image', 'before', 'after', 'truth', 'entropy')
_CAPTIONS = {
  'image': 'image',
  'before': 'before: {start}',
  'after': 'after: {run}',
  'truth': 'ground truth',
  'entropy': 'entropy of the last: purple (sure) to yellow (equal chances)',
}
_MEASURES = {
  'target/entropy': ('entropy', '{:.3f}'),
  'target/confident_share': ('sure', '{:.1%}'),
  'target/flip_agreement': ('flips agree', '{:.1%}'),
  'target/teacher_agreement': ('teacher agrees', '{:.1%}'),
  'source/mIoU': ('source mIoU', '{:.3f}'),
}


def write(workdirs: Sequence[str | pathlib.Path], path: pathlib.Path) -> None:
  """Write the page of runs.

  Args:
    workdirs: their folders.
    path: of the file.

  Raises:
    UserError: one is no run, or the file cannot be written.
  """
  files.write_text(path, render(read_all(workdirs)))


def render(runs: Sequence[RunContent]) -> str:
  """Return the page as HTML."""
  import jinja2

  environment = jinja2.Environment(
    autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined
  )
  shown = {
    'facts': [_facts(run) for run in runs],
    **_classes(runs),
    **_examples(runs),
    'curves': _curves(runs),
    'label_free': [_label_free(run) for run in runs if run.shares],
    'confusions': _confusions(runs),
    'times': [_times(run) for run in runs if run.sessions],
  }
  names = {
    'trained': ('What was trained', 'facts'),
    'classes': ('Classes', 'classes'),
    'pictures': ('Pictures', 'examples'),
    'curves': ('Curves', 'curves'),
    'without': ('Without labels', 'label_free'),
    'confusion': ('Confusion', 'confusions'),
    'time': ('Time', 'times'),
  }
  sections = [(id, name) for id, (name, key) in names.items() if shown[key]]
  title = runs[0].name if len(runs) == 1 else f'{len(runs)} runs'
  return environment.from_string(_TEMPLATE.read_text()).render(
    title=title, runs=runs, sections=sections, **shown
  )


def _facts(run):
  config, target = run.config, run.config.target
  start = config.init or (config.init_stage and config.init_stage.name)

  def data(part):
    size = f' at {part.size[0]}x{part.size[1]}' if part.size else ''
    return f'{part.name}, {part.split}{size}, batch {part.batch_size}'

  facts = [
    ('method', config.method),
    ('source', data(config.source)),
    ('target', f'{data(target)}, without labels'),
    ('classes', config.classes),
    (
      'network',
      f'{config.model.encoder.name}, decoder {config.model.decoder.name}',
    ),
    ('started from', start or 'random weights'),
    ('steps', f'{run.step:,} of {config.steps:,}'),
    ('seed', config.seed),
  ]
  if config.target.labels or config.target.labels_stage:
    facts[2] = ('target', f'{data(target)}, pseudo labels')
  if 'labelled' in methods.load(config.method).streams:
    count = config.labelled.count
    few = f', {count} images' if count else ''
    facts.insert(3, ('labelled', f'{data(config.labelled)}{few}'))
  if run.sessions:
    last = run.sessions[-1]
    facts += [
      ('trained', f'{last["began"]}, {last["device"]}'),
      ('versions', ', '.join(f'{k} {v}' for k, v in last['versions'].items())),
    ]
  commands = dict.fromkeys(session['command'] for session in run.sessions)
  return {
    'name': run.name,
    'facts': facts,
    'commands': list(commands),
    'config': json.dumps(config_lib.to_json(config), indent=1),
  }


def _classes(runs):
  """Return the table of classes: beside what was before, or beside others."""
  scored = [run for run in runs if run.scores and run.scores.images]
  if not scored:
    return {'classes': [], 'columns': [], 'differs': None}
  columns = {run.name: run.scores for run in scored}
  first = scored[0]
  if len(scored) == 1 and first.start:
    columns = {'before': first.start} | columns
  names = list(columns)
  differs = names[0] if len(names) > 1 else None

  def cells(values):
    found = []
    for value in values:
      text = 'n/a' if np.isnan(value) else f'{100 * value:.1f}'
      if found and not np.isnan(value - values[0]):
        text += f' ({100 * (value - values[0]):+.1f})'
      found.append(text)
    return found

  def of_class(scores, name):
    known = dict(zip(scores.space.classes, scores.ious, strict=True))
    return known.get(name, np.nan)

  rows = [
    (name, cells([of_class(s, name) for s in columns.values()]), False)
    for name in first.scores.space.classes
  ]
  rows += [
    (name, cells([s.means.get(name, np.nan) for s in columns.values()]), True)
    for name in first.scores.means
  ]
  return {'classes': rows, 'columns': names, 'differs': differs}


def _examples(runs):
  """Return the pictures of each example: of all runs the predictions."""
  first = runs[0]
  alike = [run for run in runs if _shown(run) == _shown(first)]
  examples = []
  for number in range(1, first.config.num_log_images + 1):
    pictures = []
    for kind in _PICTURES:
      for run in alike if kind == 'after' else [first]:
        path = run.picture(figure_writer.PANELS, f'{number}-{kind}.png')
        if path and not (kind in ('before', 'entropy') and len(runs) > 1):
          start = run.config.init or 'its start'
          caption = _CAPTIONS[kind].format(
            run=run.name, start=pathlib.Path(start).name
          )
          pictures.append(_picture(path, caption, f'Image {number}, {caption}'))
    if pictures:
      examples.append(pictures)
  space = labels.space(first.config.classes)
  colors = labels.colorize(np.arange(len(space.classes), dtype=np.uint8), space)
  legend = [
    (name, 'rgb({}, {}, {})'.format(*color))
    for name, color in zip(space.classes, colors, strict=True)
  ]
  return {'examples': examples, 'legend': legend}


def _shown(run):
  """Return what says which images are pictured."""
  scored = run.config.eval if run.config.eval.name else run.config.target
  return scored.name, scored.split, scored.size, run.config.num_log_images


def _curves(runs):
  """Return a chart for each number that was logged, a line for each run."""
  names = dict.fromkeys(name for run in runs for name in run.terms)
  first = ('eval', 'loss', 'target', 'source')

  def place(name):
    group = name.partition('/')[0]
    return first.index(group) if group in first else len(first), name

  pictures = []
  for name in sorted(names, key=place):
    series = {run.name: run.terms[name] for run in runs if name in run.terms}
    logged = [values for _, values in series.values()]
    # A single point, or nothing but zeros, as of steps that were not skipped.
    if max(map(len, logged)) < 2 or not np.any(np.concatenate(logged)):
      continue
    said = '; '.join(
      f'{run}: {values[0]:.4g} at step {steps[0]}, {values[-1]:.4g} at '
      f'{steps[-1]}'
      for run, (steps, values) in series.items()
    )
    png = charts.history(series, legend=len(runs) > 1)
    pictures.append({'data': _data(png), 'caption': name, 'alt': said})
  return pictures


def _label_free(run):
  rows = [row for row in run.rows if 'target/entropy' in row]
  known = [key for key in _MEASURES if any(key in row for row in rows)]
  mious = dict(zip(*run.mious, strict=True)) if run.mious else {}

  def cell(row, key):
    return _MEASURES[key][1].format(row[key]) if key in row else ''

  def more(values, step, text):
    cell = text.format(values[step]) if step in values else ''
    return [cell] if values else []

  measures = [
    (
      int(row['step']),
      [
        *(cell(row, key) for key in known),
        *more(run.ensv, row['step'], '{:.1%}'),
        *more(mious, row['step'], '{:.3f}'),
      ],
    )
    for row in rows
  ]
  return {
    'name': run.name,
    'balance': run.balance,
    'alarms': run.alarms,
    'columns': [
      *(_MEASURES[key][0] for key in known),
      *['EnsV'] * bool(run.ensv),
      *['mIoU'] * bool(mious),
    ],
    'measures': measures,
    'shares': run.shares,
  }


def _confusions(runs):
  return [
    _picture(path, run.name, f'Confusion matrix of {run.name}')
    for run in runs
    if (path := run.picture('confusion.png'))
  ]


def _times(run):
  total = sum(seconds for _, seconds in run.seconds)
  return {
    'name': run.name,
    'total': console.duration(total),
    'sessions': len(run.sessions),
    'parts': [
      (what, console.duration(seconds), f'{seconds / max(total, 1e-9):.0%}')
      for what, seconds in run.seconds
    ],
  }


def _picture(path, caption, alt):
  data = _data(path.read_bytes())
  return {'data': data, 'caption': caption, 'alt': re.sub(r'\s+', ' ', alt)}


def _data(png: bytes) -> str:
  """Return a PNG as the source of an image, inside the page."""
  return f'data:image/png;base64,{base64.b64encode(png).decode()}'
