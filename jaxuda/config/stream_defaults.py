"""Every key of what is read: a stream's, and those of its pseudo labels."""

import ml_collections

from jaxuda.utils.settings import Setting

SIDE = 32_768  # of an image, in pixels

STREAM = {
  'name': Setting(
    '',
    "a prepared dataset, NAME or NAME/VARIANT, or a user's own data: "
    'folder:PATH, or the path of a TOML file (datasets/own.py)',
  ),
  'split': Setting('train', 'which of its splits'),
  'size': Setting(
    None,
    '(height, width); images are resized at preparation; None for their own; '
    "of a user's own data chosen from the images",
    least=1,
    most=SIDE,
    optional=tuple,
    length=2,
  ),
  'batch_size': Setting(1, 'of all devices and hosts together', least=1),
  'flip': Setting(False, 'whether images are mirrored at random'),
  'jitter': Setting(
    (0.0, 0.0, 0.0, 0.0),
    'strengths of brightness, contrast, saturation, hue',
    least=0.0,
    length=4,
    item=float,
  ),
  'scale': Setting(
    (1.0, 1.0),
    'range of the random scale before the crop',
    length=2,
    item=float,
  ),
  'crop': Setting(
    (0, 0),
    '(height, width); (0, 0) for whole images',
    least=0,
    most=SIDE,
    length=2,
  ),
  'max_class_share': Setting(
    1.0,
    'crops are drawn again in which a class has this share; 0.75 in DAFormer',
    least=0.0,
    most=1.0,
  ),
  'margins': Setting(
    (0, 0, 0, 0),
    'rows at the top and bottom, columns left and right of the images whose '
    'pseudo labels do not count (HRDA)',
    least=0,
    length=4,
  ),
  'shuffle': Setting(True, "False: the files' order, epoch after epoch"),
  'sampling': Setting(
    'uniform',
    'every image once an epoch; or rare classes more often, by the labels, as '
    'FADA or as DAFormer (input/order.py)',
    ('uniform', 'class_balanced', 'rare_class'),
  ),
  'rare_class.temperature': Setting(
    0.01, 'of the softmax over rarity; 0.05 in VFM-UDA', least=1e-4
  ),
  'rare_class.pixels': Setting(
    3_000, 'of its class, more of which a drawn image has', least=0
  ),
  'rare_class.crop_share': Setting(
    0.5, 'of these pixels, in a crop; 2.0 in HRDA', least=0.0
  ),
  'mining.share': Setting(
    0.0,
    'crops are centred on classes that have less than this share of the '
    "pixels of the predictions behind the stream's pseudo labels; 0.001 in "
    'CBST; 0: none are',
    least=0.0,
    most=1.0,
  ),
  'mining.chance': Setting(
    0.8, 'of a crop to be centred so, where there is one', least=0.0, most=1.0
  ),
  'by_entropy.part': Setting(
    'all',
    "which images, by the mean entropy of the predictions behind the stream's "
    'pseudo labels: the `easy_share` of the lowest, or the others, which then '
    'have no labels (IntraDA)',
    ('all', 'easy', 'hard'),
  ),
  'by_entropy.easy_share': Setting(0.67, 'of the images', least=0.0, most=1.0),
  'by_entropy.rare': Setting(
    None,
    'n classes; the entropy counts times 1/2 + (n - m) / n where m of them are '
    'predicted, so that images that have them are easy; None for none',
    optional=tuple,
    item=str,
  ),
  'count': Setting(
    None,
    'None for all images; n for the first of a random order that is the same '
    'for every n and every seed (ASS)',
    least=1,
    optional=int,
  ),
  'labels': Setting(
    None,
    'None for its own labels, of which the target has none; else a folder of '
    'pseudo labels, or that of a run that makes them as `pseudo` says',
    optional=str,
  ),
  'labels_stage': Setting(
    None,
    'the experiment that is trained first and makes them as `pseudo` says',
    optional=ml_collections.ConfigDict,
  ),
}

# How the network that labels a stream does it. Of all but the rule itself, None
# is the rule's own value, in pseudo_labels/rules.py.
PSEUDO = {
  'rule': Setting(
    'argmax',
    'which predictions are kept: all (FADA), the surer half (BDL), of each '
    'class as many (CBST), or the surest of all classes together (ST); '
    'pseudo_labels/rules.py',
    ('argmax', 'median', 'balanced', 'global'),
  ),
  'input': Setting(
    None,
    '(height, width) that the network sees',
    least=1,
    optional=tuple,
    length=2,
  ),
  'scales': Setting(
    None,
    "factors of the input's size that are averaged",
    least=0.1,
    most=10.0,
    optional=tuple,
    item=float,
  ),
  'flip': Setting(
    None, 'whether the mirrored input is averaged, too', optional=bool
  ),
  'upsample': Setting(
    None,
    "what is enlarged to the label's size",
    ('logits', 'probabilities'),
    optional=str,
  ),
  'portion': Setting(
    None,
    "which of a class's confidences is its threshold",
    least=0.0,
    most=1.0,
    optional=float,
  ),
  'cap': Setting(
    None, 'the largest threshold', least=0.0, most=1.0, optional=float
  ),
  'stride': Setting(
    None,
    "thresholds look at every so many-th of a class's pixels",
    least=1,
    optional=int,
  ),
  'soft': Setting(
    None,
    "LRENT's alpha of soft labels; 0 for hard ones",
    least=0.0,
    most=1.0,
    optional=float,
  ),
  'spatial_prior': Setting(
    None,
    "CBST-SP: probabilities are multiplied by the source's class frequency at "
    "each place, smoothed by this share of the image's height; 0: no prior",
    least=0.0,
    most=1.0,
    optional=float,
  ),
}
