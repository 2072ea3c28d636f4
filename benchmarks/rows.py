"""The experiments of the README's tables, each named by its page.

A row is what `python -m jaxuda.main --config=configs/PAGE` trains: the stages
that a page names, such as `init`, are rows or stages of the table, too.
"""

# AdaptSegNet's single level, from which the local alignment goes on.
_GLOBAL = 'adaptsegnet.py:streets'
_M1 = 'configs/bdl_ssl.py:streets'
_ENTROPY_RANGE = 'minent.py:streets,entropy_share=0.3,weights.ent_main=0.01'
# Of the game's pixels: `python -m jaxuda.analyze domain_similarity`.
_SHARES = (
  '(0.166,0.100,0.281,0.008,0.007,0.021,0.003,0.008,0.101,0.072,'
  '0.087,0.012,0.005,0.041,0.019,0.020,0.041,0.005,0.003)'
)
_WHOLE = 'advent_patch.py:streets,patch.size=None,patch.count=1'
# Paper 004's labelled images beside the source's, and no alignment.
_UNALIGNED = 'ass.py:streets,semantics=None,weights.adv_main=0.0'
# Paper 000's Table 2: two classes of the label table count as background.
_CUT = 'streets,classes=cityscapes19-building-sky'

_CONTROLS = {
  # On the source for as many steps as an adaptation trains after it.
  'source-only': (
    'source_only.py:streets,init=configs/source_only.py:streets,steps=400'
  ),
  'AdaBN control': 'adabn.py:streets',
}

METHODS = {
  **_CONTROLS,
  # Of what starts from an adapted network: it has trained as long.
  'AdaBN control, longer': 'adabn.py:streets,init=configs/adabn.py:streets',
  'AdaptSegNet': _GLOBAL,
  'AdaptSegNet, two levels': 'adaptsegnet.py:streets,model.decoder.multi_level=True',
  'AdaptSegNet, LSGAN': (
    'adaptsegnet.py:streets,gan=lsgan,weights.adv_main=0.1'
  ),
  'alignment of features': 'adaptsegnet_features.py:streets',
  'MinEnt': 'minent.py:streets',
  'MinEnt, entropy range': _ENTROPY_RANGE,
  # Its weight chosen on tune: 0.01 (23.1 there), 0.1 (22.3), 1 (18.0).
  'MinEnt, class prior': (
    f'minent.py:streets,prior.shares={_SHARES},weights.prior_main=0.01'
  ),
  'ADVENT': 'advent.py:streets',
  'A+E': ('advent.py:streets', _ENTROPY_RANGE),
  'random patches, ALP-GI': 'advent_patch.py:streets',
  'ALP-GI, literal minimax': 'advent_patch.py:streets,objective=minimax',
  # Its weight chosen on tune, as that of the patches: 0.1 (21.9 there), 0.02
  # (23.0), 0.005 (23.4).
  'whole maps, AGP-GI': f'{_WHOLE},weights.adv_main=0.005',
  'cropped images, AP-CI': 'advent_image_patch.py:streets',
  'global-local, S1': f'{_GLOBAL},init=configs/{_GLOBAL}',
  'global-local, S2': (
    'local_alignment.py:streets,local.mixture=None,'
    'local.leave_out_background=False'
  ),
  'global-local, S3': 'local_alignment.py:streets,local.mixture=None',
  'global-local, S4': 'local_alignment.py:streets',
  'S4, mixture of pixels': 'local_alignment.py:streets,local.mixture=pixels',
  'S4 on ADVENT': 'local_alignment.py:streets,init=configs/advent.py:streets',
  'S4 on BDL': 'local_alignment.py:streets,init=configs/bdl_ssl.py:streets',
  'FADA': 'fada.py:streets',
  'FADA, hard encoding': 'fada.py:streets,encoding=hard',
  'FADA, self-distilled': 'fada_distill.py:streets',
  'BDL, M0': 'bdl.py:streets',
  'BDL, M1': 'bdl_ssl.py:streets',
  'BDL, M2': f'bdl_ssl.py:streets,target.labels={_M1}',
  'CBST': 'cbst.py:streets',
  'CBST from AdaBN': (
    'cbst.py:streets,init=configs/adabn.py:streets,'
    'target.labels=configs/adabn.py:streets'
  ),
  'MRKLD': 'cbst.py:streets,weights.kld_main=0.01',
  'LRENT': 'cbst.py:streets,pseudo.soft=0.25',
  'CLAN': 'clan.py:streets',
  'ASS, GA, no labels': 'ass_global.py:streets',
  'source and 20 labels': _UNALIGNED,
  'ASS, GA, 20 labels': 'ass.py:streets,semantics=None',
  'ASS, GA+FCSA, 20 labels': (
    'ass.py:streets,semantics=vectors,weights.adv_semantic=0.4'
  ),
  'ASS, GA+CSA, 20 labels': 'ass.py:streets',
  '20 labels alone': 'oracle.py:streets,steps=1000,source.count=20',
  'oracle': 'oracle.py:streets,steps=1000',
}

LABELS = {
  **_CONTROLS,
  '0 labels': METHODS['ASS, GA, no labels'],
  '5 labels': 'ass.py:streets,labelled.count=5',
  '20 labels': METHODS['ASS, GA+CSA, 20 labels'],
  '100 labels': 'ass.py:streets,labelled.count=100',
  '5 labels, unaligned': f'{_UNALIGNED},labelled.count=5',
  '20 labels, unaligned': METHODS['source and 20 labels'],
  '100 labels, unaligned': f'{_UNALIGNED},labelled.count=100',
  **{
    f'{n} labels alone': f'oracle.py:streets,steps=1000,source.count={n}'
    for n in (5, 20, 100)
  },
}

# Of size alone: all with the weight of the smallest, which is larger than whole
# maps want. The discriminator takes no less than 32; the whole map is 96x192.
PATCHES = {
  **_CONTROLS,
  'patches of 32': METHODS['random patches, ALP-GI'],
  **{
    f'patches of {size}': f'advent_patch.py:streets,patch.size={size}'
    for size in (48, 64, 80, 96)
  },
  'whole maps': _WHOLE,
}

BACKGROUND = {
  'source-only': (
    f'source_only.py:{_CUT},init=(configs/source_only.py:{_CUT}),steps=400'
  ),
  'AdaBN control': f'adabn.py:{_CUT}',
  'AdaBN control, longer': f'adabn.py:{_CUT},init=(configs/adabn.py:{_CUT})',
  'AdaptSegNet': f'adaptsegnet.py:{_CUT}',
  'global-local, S1': f'adaptsegnet.py:{_CUT},init=(configs/adaptsegnet.py:{_CUT})',
  'global-local, S4': f'local_alignment.py:{_CUT}',
}

# Twice the steps of the pages, which are short enough for a demonstration.
_TWICE = 'init=(configs/source_only.py:streets,steps=1000),steps=800'

CAMVID = {
  'source-only': f'source_only.py:camvid,{_TWICE}',
  'AdaBN control': f'adabn.py:camvid,{_TWICE}',
  'random patches, ALP-GI': f'advent_patch.py:camvid,{_TWICE}',
}

TABLES = {
  'methods': METHODS,
  'labels': LABELS,
  'patches': PATCHES,
  'background': BACKGROUND,
  'camvid': CAMVID,
}
