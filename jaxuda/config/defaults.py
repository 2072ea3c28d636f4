"""Every key that all experiments have: its default, and what it may be.

Numbers are those of the published code of AdaptSegNet and ADVENT, on which all
four papers build, unless a line says otherwise. A method declares the keys that
it adds in its own file, as encoders and decoders do.
"""

import ml_collections

from jaxuda.utils.settings import Setting

_SIDE = 32_768  # of an image, in pixels

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
    most=_SIDE,
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
    most=_SIDE,
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

EVAL = {
  'name': Setting(
    '',
    'the dataset that is scored; None where the target has no labels at all',
    optional=str,
  ),
  'split': Setting('val', 'which of its splits'),
  'size': Setting(
    None, 'as of a stream', least=1, most=_SIDE, optional=tuple, length=2
  ),
  'classes': Setting(
    None, 'the class space that is scored; None for `classes`', optional=str
  ),
  'batch_size': Setting(4, 'images at a time', least=1),
  'scales': Setting(
    (1.0,),
    "factors of the input's size that are averaged",
    least=0.1,
    most=10.0,
    item=float,
  ),
  'flip': Setting(False, 'whether the mirrored input is averaged, too'),
  'average': Setting(
    'probabilities',
    'what is averaged over scales and flips',
    ('probabilities', 'logits'),
  ),
  'upsample': Setting(
    'logits',
    "what is enlarged to the label's size; probabilities in BDL",
    ('logits', 'probabilities'),
  ),
  'window': Setting(
    (0, 0),
    '(height, width) of windows, overlapping by half, whose logits are '
    'averaged; (0, 0) for the image as a whole',
    least=0,
    most=_SIDE,
    length=2,
  ),
  'network': Setting(
    'segmenter',
    "which of a run's networks is scored, and what predicts and labels with it "
    'or goes on from it: the segmenter, or its teacher',
    ('segmenter', 'ema'),
  ),
  'missing_class_iou': Setting(
    'excluded',
    'what a class that is nowhere counts in means; zero in FADA',
    ('excluded', 'zero'),
  ),
}

MODEL = {
  'input_norm': Setting(
    'caffe',
    'what the weights expect of the input; models/segmenter.py',
    ('caffe', 'caffe_vgg', 'torchvision', 'efficientnet_lite'),
  ),
  'detail': Setting(
    (0, 0),
    "(height, width) of HRDA's crop in detail, of an image that is otherwise "
    'seen at half its resolution; (0, 0) for one resolution',
    least=0,
    most=_SIDE,
    length=2,
  ),
  'align_corners': Setting(True, "of the logits' upsampling; False since 2021"),
  'dtype': Setting(
    'float32',
    'of convolutions; parameters and losses stay float32',
    ('float32', 'bfloat16'),
  ),
  'remat': Setting(
    False, 'whether activations are recomputed: less memory, more time'
  ),
}

DISCRIMINATOR = {
  'width': Setting(64, 'channels of the first layer', least=1),
  'outputs': Setting(1, 'a logit, or two (ACCV 2020)', (1, 2)),
  'lr': Setting(1e-4, "Adam's learning rate", least=0.0),
  'init': Setting(
    None,
    'None for random weights; a run or a PyTorch file that holds all; or '
    'NAME=FILE,NAME=FILE: main=model_D_main.pth,aux=model_D_aux.pth',
    optional=str,
  ),
}

OPTIM = {
  'name': Setting('sgd', "of the segmenter's optimizer", ('sgd', 'adamw')),
  'duplicate_params': Setting(
    True,
    "whether a ResNet's block convolutions are updated three times a step and "
    'shortcuts four times, as the originals list them so often: the encoder '
    'moves about three times as far',
  ),
  'lr': Setting(2.5e-4, 'learning rate of the encoder', least=0.0),
  'head_factor': Setting(
    10.0, "of the decoder's; 1.0 in AdaptSegNet's VGG-16", least=0.0
  ),
  'momentum': Setting(0.9, 'or the first beta of AdamW'),
  'beta2': Setting(0.99, 'the second beta of AdamW', least=0.0, most=1.0),
  'nesterov': Setting(False, 'form of the momentum'),
  'warmup': Setting(0, 'steps in which the rate rises; 5,000 in CLAN', least=0),
  'warmup_from': Setting(
    None,
    "None: it rises from 0 to the base; else the schedule's own rate is "
    "multiplied by a factor that rises from this one (DAFormer's line)",
    least=0.0,
    most=1.0,
    optional=float,
  ),
  'weight_decay': Setting(5e-4, 'as torch has it', least=0.0),
  'power': Setting(0.9, 'of the poly schedule'),
  'decay_steps': Setting(
    250_000,
    'where the schedule would reach 0, beyond the last step; None for `steps`',
    least=1,
    optional=int,
  ),
}

TOP = {
  'name': Setting('', "the experiment's, for folders and figures"),
  'method': Setting('', 'a file of jaxuda/methods'),
  'seed': Setting(0, 'of all that is random', least=0),
  'steps': Setting(150_000, 'of training', least=1),
  'grad_accum_steps': Setting(
    1,
    'parts in which a step goes through its batch: the memory of one and the '
    "gradient of the whole, but for batch norm, whose statistics are a part's",
    least=1,
  ),
  'classes': Setting(
    'cityscapes19', 'the class space: a table of jaxuda/labels, or a path'
  ),
  'init': Setting(
    None,
    "where training starts in place of init_stage: a run's folder, a PyTorch "
    'file, published weights by the name that `python -m jaxuda.weights fetch` '
    "gives them, or `imagenet`, the encoder's own from a package. The "
    'originals start from weights trained on ImageNet, AdaptSegNet and CLAN on '
    'COCO, too',
    optional=str,
  ),
  'init_stage': Setting(
    None,
    'the experiment that is trained first, where it is not there yet; None to '
    'start from random weights, or from init',
    optional=ml_collections.ConfigDict,
  ),
  'init_unused': Setting(
    None, 'regex of keys that may be left over in such a file', optional=str
  ),
  'init_fresh': Setting(
    None,
    "regex, in ADVENT's names, of what may keep its random values: "
    'layer[56].* for heads of other classes',
    optional=str,
  ),
  'data_dir': Setting(
    None, "where prepared datasets are; None for TFDS's default", optional=str
  ),
  'bn_mode': Setting(
    'batch',
    'of batch norm in training; models/norm.py',
    ('batch', 'running', 'running_updated', 'fixed', 'frozen'),
  ),
  'train_bn_affine': Setting(
    False, "whether batch norm's scale and bias learn"
  ),
  'bn_stats_from': Setting(
    'both',
    'which domain the running statistics follow; both: source, then target, as '
    'in the originals',
    ('both', 'target'),
  ),
  'temperature': Setting(
    1.0, 'divides the logits in training; 1.8 in FADA', least=1e-3
  ),
  'ce_reduction': Setting(
    'batch',
    'over which valid pixels a cross entropy is a mean: those of its '
    "domain's batch, of each image, or of all domains together (CRST); or over "
    'all pixels, of which ignored ones add 0 (DAFormer)',
    ('batch', 'image', 'all', 'pixels'),
  ),
  'focal_gamma': Setting(0.0, 'of the focal loss; 2 in CLAN', least=0.0),
  'max_nonfinite_steps': Setting(
    20, 'steps in a row without finite gradients, then stop', least=1
  ),
  'max_loss_ratio': Setting(
    100.0,
    'times its running scale that the cross entropy may have; after five '
    'steps in a row beyond it training stops; None: never',
    least=2.0,
    optional=float,
  ),
  'stuck_after': Setting(
    300.0,
    'seconds without a step, a batch and the like, after which a run ends with '
    'status 75; None: never',
    least=1.0,
    optional=float,
  ),
  'log_every': Setting(50, 'steps', least=1),
  'eval_every': Setting(5_000, 'steps', least=1),
  'checkpoint_every': Setting(1_000, 'steps', least=1),
  'keep_checkpoints.latest': Setting(
    2,
    'how many of the newest stay, beside the best; with one, nothing is left '
    'where a disk damages it',
    least=1,
  ),
  'keep_checkpoints.every': Setting(
    None, 'those of every so many steps stay, too', least=1, optional=int
  ),
  'num_log_images': Setting(4, 'in figures and TensorBoard; 0: none', least=0),
  'num_unlabelled_images': Setting(
    32,
    'of the target, on which a run is measured without labels; 0: none, and '
    "nothing on the source's validation images",
    least=0,
  ),
}


def below(prefix: str, settings: dict) -> dict:
  """Return the settings one level deeper, behind a prefix and a dot."""
  return {f'{prefix}.{key}': setting for key, setting in settings.items()}


SETTINGS = {
  **TOP,
  **below('source', STREAM),
  **below('target', STREAM),
  **below('labelled', STREAM),
  **below('pseudo', PSEUDO),
  **below('eval', EVAL),
  **below('model', MODEL),
  **below('discriminator', DISCRIMINATOR),
  **below('optim', OPTIM),
}
