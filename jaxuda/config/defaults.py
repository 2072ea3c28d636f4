"""Every key that all experiments have: its default, and what it may be.

Numbers are those of the published code of AdaptSegNet and ADVENT, on which all
four papers build, unless a line says otherwise. A method declares the keys that
it adds in its own file, as encoders and decoders do.
"""

import ml_collections

from jaxuda.config.stream_defaults import PSEUDO, SIDE, STREAM
from jaxuda.utils.settings import Setting

EVAL = {
  'name': Setting(
    '',
    'the dataset that is scored; None where the target has no labels at all',
    optional=str,
  ),
  'split': Setting('val', 'which of its splits'),
  'size': Setting(
    None, 'as of a stream', least=1, most=SIDE, optional=tuple, length=2
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
    most=SIDE,
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
    most=SIDE,
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
