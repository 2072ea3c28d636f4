"""The experiments of the README's tables, each named by its config.

A row is what `python -m jaxuda.main --config=configs/CONFIG` trains: the stages
that a config has are trained before it, where they are not there yet.
"""

from collections.abc import Iterable
from typing import NamedTuple


class Row(NamedTuple):
  """An experiment, as a command line names it.

  Attributes:
    config: a file of configs/, with its argument behind a colon.
    overrides: KEY=VALUE of its keys.
    init: the row whose network it goes on from, in place of its `init_stage`.
    labels: the row that makes the target's labels, in place of its
      `target.labels_stage`.
  """

  config: str
  overrides: tuple[str, ...] = ()
  init: 'Row | None' = None
  labels: 'Row | None' = None


class Ensemble(NamedTuple):
  """Networks that are scored as one.

  Attributes:
    rows: of the networks.
  """

  rows: tuple[Row, ...]


def members(x: Row | Ensemble) -> tuple[Row, ...]:
  """Return the rows of which a line of a table is made."""
  return x.rows if isinstance(x, Ensemble) else (x,)


def with_before(given: Iterable[Row]) -> list[Row]:
  """Return rows and all those that they go on from, each once."""
  found, to_do = {}, list(given)
  while to_do:
    row = to_do.pop(0)
    if row not in found:
      found[row] = None
      to_do += before(row)
  return list(found)


def before(row: Row) -> list[Row]:
  """Return the rows that have to be trained before a row."""
  return [named for named in (row.init, row.labels) if named]


def to_json(x: Row | Ensemble) -> dict | list:
  """Return a row as a dict of what it has, an ensemble as a list of them."""
  if isinstance(x, Ensemble):
    return [to_json(row) for row in x.rows]
  given = {'config': x.config}
  if x.overrides:
    given['overrides'] = list(x.overrides)
  for key in ('init', 'labels'):
    if row := getattr(x, key):
      given[key] = to_json(row)
  return given


_SOURCE_ONLY = Row('source_only.py:streets')
_ADABN = Row('adabn.py:streets')
# The one from which the local alignment goes on.
_GLOBAL = Row('adaptsegnet.py:streets,levels=1')
_ENTROPY_RANGE = Row('minent.py:streets', ('entropy_share=0.3',))
# Of the game's pixels: `python -m jaxuda.analyze domain_similarity`.
_SHARES = (
  '(0.166,0.100,0.281,0.008,0.007,0.021,0.003,0.008,0.101,0.072,'
  '0.087,0.012,0.005,0.041,0.019,0.020,0.041,0.005,0.003)'
)
_WHOLE = ('patch.size=None', 'patch.count=1')
# Table 2 of ICIP 2020: two classes of the label table count as background.
_CUT = ('classes=cityscapes19-building-sky',)

_CONTROLS = {
  'source-only': _SOURCE_ONLY,
  'AdaBN control': _ADABN,
}


def _unaligned(*overrides: str) -> Row:
  """Train on ASS's labelled images beside the source's, without alignment."""
  weights = ('loss_weights.adv_main=0.0',)
  return Row('ass.py:streets,semantics=none', (*weights, *overrides))


def _alone(*overrides: str) -> Row:
  """Train on the target's labels alone."""
  return Row('oracle.py:streets', overrides)


METHODS = {
  **_CONTROLS,
  # Of what starts from an adapted network: it has trained as long.
  'AdaBN control, longer': Row('adabn.py:streets', ('steps=300',), init=_ADABN),
  'AdaptSegNet': _GLOBAL,
  'AdaptSegNet, two levels': Row(
    'adaptsegnet.py:streets', ('model.decoder.multi_level=True',)
  ),
  'AdaptSegNet, LSGAN': Row(
    'adaptsegnet.py:streets', ('gan=lsgan', 'loss_weights.adv_main=0.01')
  ),
  'alignment of features': Row('adaptsegnet_features.py:streets'),
  'MinEnt': Row('minent.py:streets'),
  'MinEnt, entropy range': _ENTROPY_RANGE,
  'MinEnt, class prior': Row('minent.py:streets', (f'prior.shares={_SHARES}',)),
  'ADVENT': Row('advent.py:streets'),
  'A+E': Ensemble((Row('advent.py:streets'), _ENTROPY_RANGE)),
  'random patches, ALP-GI': Row('advent_patch.py:streets'),
  'ALP-GI, literal minimax': Row(
    'advent_patch.py:streets', ('objective=minimax',)
  ),
  'whole maps, AGP-GI': Row(
    'advent_patch.py:streets', (*_WHOLE, 'loss_weights.adv_main=0.001')
  ),
  'cropped images, AP-CI': Row('advent_image_patch.py:streets'),
  'global-local, S1': Row(_GLOBAL.config, ('steps=300',), init=_GLOBAL),
  'global-local, S2': Row(
    'local_alignment.py:streets',
    ('local.mixture=None', 'local.leave_out_background=False'),
  ),
  'global-local, S3': Row(
    'local_alignment.py:streets', ('local.mixture=None',)
  ),
  'global-local, S4': Row('local_alignment.py:streets'),
  'S4, mixture of pixels': Row(
    'local_alignment.py:streets', ('local.mixture=pixels',)
  ),
  'S4 on ADVENT': Row('local_alignment.py:streets,start=advent'),
  'S4 on BDL': Row('local_alignment.py:streets,start=bdl'),
  'FADA': Row('fada.py:streets'),
  'FADA, hard encoding': Row('fada.py:streets', ('encoding=hard',)),
  'FADA, self-distilled': Row('fada_distill.py:streets'),
  'BDL, M0': Row('bdl.py:streets'),
  'BDL, M1': Row('bdl_ssl.py:streets'),
  'BDL, M2': Row('bdl_ssl.py:streets,round=2'),
  'CBST': Row('cbst.py:streets'),
  'CBST from AdaBN': Row('cbst.py:streets', init=_ADABN, labels=_ADABN),
  'ST': Row('cbst.py:streets,labels=global'),
  'CBST-SP': Row('cbst.py:streets,labels=prior'),
  'MRL2': Row('cbst.py:streets', ('loss_weights.l2_main=0.01',)),
  'MRENT': Row('cbst.py:streets', ('loss_weights.negentropy_main=0.01',)),
  'MRKLD': Row('cbst.py:streets', ('loss_weights.kld_main=0.01',)),
  'LRENT': Row('cbst.py:streets', ('pseudo.soft=0.25',)),
  'CLAN': Row('clan.py:streets'),
  'MCD': Row('mcd.py:streets'),
  'CyCADA, last stage': Row('cycada.py:streets'),
  'ROAD': Row('road.py:streets'),
  'ROAD, features alone': Row(
    'road.py:streets', ('loss_weights.adv_region=0.0',)
  ),
  'ROAD, regions alone': Row('road.py:streets', ('loss_weights.dist=0.0',)),
  'AdaptPatch': Row('adapt_patch.py:streets'),
  'No More Discrimination': Row('no_more_discrimination.py:streets'),
  'PyCDA': Row('pycda.py:streets'),
  'MinEnt, layout': Row('minent.py:streets', ('prior.layout=True',)),
  'MinEnt, class sizes': Row('minent.py:streets', ('prior.sizes=True',)),
  'FDA': Row('fda.py:streets'),
  'FDA, second round': Row('fda.py:streets,round=2'),
  'IntraDA': Row('intrada.py:streets'),
  'ASS, GA, no labels': Row('ass_global.py:streets'),
  'source and 20 labels': _unaligned(),
  'ASS, GA, 20 labels': Row('ass.py:streets,semantics=none'),
  'ASS, GA+FCSA, 20 labels': Row('ass.py:streets,semantics=vectors'),
  'ASS, GA+CSA, 20 labels': Row('ass.py:streets'),
  '20 labels alone': _alone('source.count=20'),
  'oracle': _alone(),
}

_LONG = ('steps=2000',)  # as the configs of the self-training line have

# What each part of the line adds to the one before it; the margins are those of
# DAFormer, 15 and 120 rows of 512, at 96. The row of masks has no margins, as
# the config has none.
SELF_TRAINING = {
  'source-only': Row('source_only.py:streets', _LONG),
  'AdaBN control': Row('adabn.py:streets', _LONG),
  'random patches, ALP-GI': Row('advent_patch.py:streets', _LONG),
  'mean teacher': Row('mean_teacher.py:streets', _LONG),
  'DACS': Row('dacs.py:streets'),
  '+ rare class sampling': Row(
    'daformer.py:streets', ('feature_distance.classes=None',)
  ),
  '+ feature distance (DAFormer)': Row('daformer.py:streets'),
  '+ margins': Row('daformer.py:streets', ('teacher.margins=(3,22)',)),
  '+ masks (MIC)': Row('mic.py:streets'),
  'MIC on DACS': Row('mic.py:streets,on=dacs'),
  'oracle': _alone(*_LONG),
}

_LARGE = tuple(
  f'{part}.size=(192,384)' for part in ('source', 'target', 'eval')
)
# As many for the image as 60 pixels are at half the size.
_RARE = ('source.rare_class.pixels=240',)

# HRDA's images are twice as large as those of the other tables.
HIGH_RESOLUTION = {
  'AdaBN control': Row('adabn.py:streets', (*_LONG, *_LARGE)),
  'DAFormer': Row('daformer.py:streets', (*_LARGE, *_RARE)),
  'HRDA': Row('hrda.py:streets'),
}

LABELS = {
  **_CONTROLS,
  '0 labels': METHODS['ASS, GA, no labels'],
  '5 labels': Row('ass.py:streets', ('labelled.count=5',)),
  '20 labels': METHODS['ASS, GA+CSA, 20 labels'],
  '100 labels': Row('ass.py:streets', ('labelled.count=100',)),
  '5 labels, unaligned': _unaligned('labelled.count=5'),
  '20 labels, unaligned': METHODS['source and 20 labels'],
  '100 labels, unaligned': _unaligned('labelled.count=100'),
  **{f'{n} labels alone': _alone(f'source.count={n}') for n in (5, 20, 100)},
}

# Of size alone: all with the weight of the smallest, which is larger than whole
# maps want. The discriminator takes no less than 32; the whole map is 96x192.
PATCHES = {
  **_CONTROLS,
  'patches of 32': METHODS['random patches, ALP-GI'],
  **{
    f'patches of {n}': Row('advent_patch.py:streets', (f'patch.size={n}',))
    for n in (48, 64, 80, 96)
  },
  'whole maps': Row('advent_patch.py:streets', _WHOLE),
}

BACKGROUND = {
  'source-only': Row('source_only.py:streets', _CUT),
  'AdaBN control': Row('adabn.py:streets', _CUT),
  'AdaBN control, longer': Row(
    'adabn.py:streets',
    (*_CUT, 'steps=300'),
    init=Row('adabn.py:streets', _CUT),
  ),
  'AdaptSegNet': Row(_GLOBAL.config, _CUT),
  'global-local, S1': Row(
    _GLOBAL.config, (*_CUT, 'steps=300'), init=Row(_GLOBAL.config, _CUT)
  ),
  'global-local, S4': Row('local_alignment.py:streets', _CUT),
}

CAMVID = {
  'source-only': Row('source_only.py:camvid', _LONG),
  'AdaBN control': Row('adabn.py:camvid', _LONG),
  'random patches, ALP-GI': Row('advent_patch.py:camvid', _LONG),
  'DACS': Row('dacs.py:camvid'),
  'DAFormer': Row('daformer.py:camvid'),
}

_LARGE_CAMVID = (
  'source.size=(192,384)',
  'target.size=(192,256)',
  'eval.size=(192,256)',
)

# Photographs twice as large.
CAMVID_LARGE = {
  'source-only': Row('source_only.py:camvid', (*_LONG, *_LARGE_CAMVID)),
  'AdaBN control': Row('adabn.py:camvid', (*_LONG, *_LARGE_CAMVID)),
  'DAFormer': Row(
    'daformer.py:camvid',
    (
      *_LARGE_CAMVID,
      'source.crop=(192,256)',
      'target.crop=(192,256)',
      *_RARE,
    ),
  ),
}

TABLES = {
  'methods': METHODS,
  'self_training': SELF_TRAINING,
  'high_resolution': HIGH_RESOLUTION,
  'labels': LABELS,
  'patches': PATCHES,
  'background': BACKGROUND,
  'camvid': CAMVID,
  'camvid_large': CAMVID_LARGE,
}
