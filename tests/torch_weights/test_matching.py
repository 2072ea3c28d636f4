"""PyTorch checkpoints of every layout in, and out again bit for bit."""

import functools
import itertools

import jax
import numpy as np
import pytest
import safetensors.numpy
import tiny

from jaxuda import experiment as experiment_lib
from jaxuda import state
from jaxuda.config import loading as config_lib
from jaxuda.torch_weights import export, layouts, load, matching
from jaxuda.utils.errors import UserError

BLOCKS = {'narrow': (1, 2, 1, 1), 'full': (3, 4, 23, 3)}
NORM = ('weight', 'bias', 'running_mean', 'running_var')
COUNTER = 'num_batches_tracked'


def resnet(blocks, counters=True):
  """The keys of torch's ResNet, in its order, of the convolutions' kinds."""
  norm = (*NORM, COUNTER) if counters else NORM
  yield 'conv1.weight'
  yield from (f'bn1.{v}' for v in norm)
  for layer, count in enumerate(blocks, 1):
    for block in range(count):
      at = f'layer{layer}.{block}'
      for i in (1, 2, 3):
        yield f'{at}.conv{i}.weight'
        yield from (f'{at}.bn{i}.{v}' for v in norm)
      if block == 0:
        yield f'{at}.downsample.0.weight'
        yield from (f'{at}.downsample.1.{v}' for v in norm)


def aspp(name):
  for i, v in itertools.product(range(4), ('weight', 'bias')):
    yield f'{name}.conv2d_list.{i}.{v}'


VGG = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 23, 25, 27, 29, 31)


def pairs(names):
  return [f'{name}.{v}' for name in names for v in ('weight', 'bias')]


def experiment(page, *overrides):
  """A page's GTA5 experiment with a narrow network."""
  small = (
    'model.encoder.blocks=(1,2,1,1)',
    'model.encoder.width=4',
    'discriminator.width=4',
  )
  return config_lib.load(f'{tiny.ROOT}/configs/{page}.py', [*small, *overrides])


def shapes(config):
  """{plain name: torch's shape} of a segmenter, and of each discriminator."""
  nets, txs = experiment_lib.build(config)
  init = functools.partial(state.init, nets=nets, txs=txs)
  abstract = jax.eval_shape(init, jax.random.key(0))

  def named(*trees):
    return {
      layouts.plain_name(tuple(k.key for k in path)): (
        matching.to_torch(np.empty(leaf.shape, bool)).shape
      )
      for tree in trees
      for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }

  seg = named(abstract.segmenter.params, abstract.segmenter.batch_stats)
  d = abstract.discriminators.params
  return seg, {name: named(tree) for name, tree in d.items()}


def draw(shapes_of_keys, seed=0):
  """Random tensors; counters as torch has them."""
  rng = np.random.default_rng(seed)
  return {
    key: np.array(rng.integers(1e9))
    if key.endswith(COUNTER)
    else rng.standard_normal(shape).astype('f4')
    for key, shape in shapes_of_keys.items()
  }


def file_of(config, rename, path, **more):
  """Writes a file with random tensors of a config's segmenter."""
  seg, _ = shapes(config)
  tensors = draw({rename(k): shape for k, shape in seg.items() if rename(k)})
  tensors |= more
  safetensors.numpy.save_file(tensors, path)
  return tensors


MULTI, SINGLE = ('advent', ()), ('advent', ('model.decoder.multi_level=False',))
FADA = ('fada', ())
VGG16 = ('source_only', ('@VGG@', 'model.decoder.multi_level=False'))


def prefix(old, new):
  return lambda key: new + key.removeprefix(old) if key.startswith(old) else key


def fada(key):
  if key.startswith('layer6.'):
    return 'classifier.' + key.removeprefix('layer6.')
  return 'feature_extractor.backbone.' + key.removeprefix('features.')


def in_fada(keys, counters):
  backbone = {f'feature_extractor.backbone.{k}' for k in keys(counters)}
  return backbone | {f'classifier.{k[2:]}' for k in aspp('x')}


def narrow(counters=True):
  return set(resnet(BLOCKS['narrow'], counters))


# page and overrides, our plain name -> the file's key, the layout's name, and
# all keys of the file.
WHOLE = {
  'multi-level': (
    MULTI,
    lambda key: key,
    'deeplab',
    {*narrow(), *aspp('layer5'), *aspp('layer6')},
  ),
  'single-level': (
    SINGLE,
    lambda key: key,
    'deeplab',
    {*narrow(), *aspp('layer6')},
  ),
  'bdl': (
    SINGLE,
    prefix('layer6.', 'layer5.'),
    'bdl',
    {*narrow(), *aspp('layer5')},
  ),
  'fada': (FADA, fada, 'fada', in_fada(narrow, False)),
  'fada, trained norm': (
    ('fada', ('bn_mode=batch',)),
    fada,
    'fada',
    in_fada(narrow, True),
  ),
  'vgg': (
    VGG16,
    prefix('layer6.', 'classifier.'),
    'deeplab_vgg',
    {*pairs(f'features.{n}' for n in VGG), *aspp('classifier')},
  ),
}


@pytest.mark.parametrize('kind', WHOLE)
def test_import_and_export_give_back_every_bit(kind, tmp_path):
  (page, overrides), rename, name, keys = WHOLE[kind]
  config = experiment(page, *overrides)
  tensors = file_of(config, rename, tmp_path / 'x.safetensors')
  assert tensors.keys() == keys
  run, found = load.load_segmenter(config, tmp_path / 'x.safetensors')
  assert found.layout.name == name and found.complete and not found.unused
  back = export.to_tensors(run.params, found.layout)
  back |= export.to_tensors(run.batch_stats, found.layout)
  assert back.keys() == tensors.keys()
  for key, tensor in tensors.items():
    assert back[key].dtype == tensor.dtype, key
    np.testing.assert_array_equal(back[key], tensor, key)


def test_kernels_are_turned(tmp_path):
  """torch's [out, in, row, column] at our [row, column, in, out]."""
  config = experiment('advent')
  tensors = file_of(config, lambda key: key, tmp_path / 'x.safetensors')
  run, _ = load.load_segmenter(config, tmp_path / 'x.safetensors')
  ours = run.params['backbone']['layer2_1']['conv2']['kernel']
  theirs = tensors['layer2.1.conv2.weight']
  assert ours.shape == (3, 3, 8, 8)
  assert ours[0, 2, 5, 7] == theirs[7, 5, 0, 2]
  stats = run.batch_stats['backbone']['layer2_0']['downsample_1']
  theirs = tensors['layer2.0.downsample.1.running_var']
  np.testing.assert_array_equal(stats['var'], theirs)


@pytest.mark.parametrize('heads', ['multi', 'single'])
def test_the_keys_of_the_originals_at_full_size(heads):
  """All of ADVENT's: 640 entries with two heads, 632 with one."""
  more = ['model.decoder.multi_level=False'] if heads == 'single' else []
  config = config_lib.load(f'{tiny.ROOT}/configs/advent.py', more)
  expected = {*resnet(BLOCKS['full']), *aspp('layer6')}
  expected |= set(aspp('layer5')) if heads == 'multi' else set()
  seg, d = shapes(config)
  assert seg.keys() == expected
  assert len(seg) == (640 if heads == 'multi' else 632)
  if heads == 'multi':
    count = sum(
      np.prod(shape, dtype=int)
      for key, shape in seg.items()
      if not key.endswith((COUNTER, 'running_mean', 'running_var'))
    )
    assert count == 44_601_560
  rename = layouts.BY_NAME['advent_discriminator'].rename
  assert {rename(k): s for k, s in d['main'].items()} == {
    '0.weight': (64, 19, 4, 4),
    '0.bias': (64,),
    '2.weight': (128, 64, 4, 4),
    '2.bias': (128,),
    '4.weight': (256, 128, 4, 4),
    '4.bias': (256,),
    '6.weight': (512, 256, 4, 4),
    '6.bias': (512,),
    '8.weight': (1, 512, 4, 4),
    '8.bias': (1,),
  }
  plain = {'conv1', 'conv2', 'conv3', 'conv4', 'classifier'}
  assert d['main'].keys() == set(pairs(plain))
  assert sum(np.prod(s, dtype=int) for s in d['main'].values()) == 2_781_121


@pytest.mark.parametrize('frozen', [True, False])
def test_fadas_keys_at_full_size(frozen):
  """520 entries with a frozen norm, 624 with a trained one."""
  norm = 'frozen' if frozen else 'batch'
  config = config_lib.load(f'{tiny.ROOT}/configs/fada.py', [f'bn_mode={norm}'])
  seg, d = shapes(config)
  keys = {fada(key) for key in seg}
  backbone = {k for k in keys if k.startswith('feature_extractor')}
  assert len(backbone) == (520 if frozen else 624)
  at = 'feature_extractor.backbone.'
  assert backbone == {
    at + key for key in resnet(BLOCKS['full'], counters=not frozen)
  }
  assert keys - backbone == {
    f'classifier.{key.partition(".")[2]}' for key in aspp('x')
  }
  head = sum(np.prod(seg[k], dtype=int) for k in seg if 'layer6' in k)
  assert head == 1_400_908
  assert d['main'].keys() == set(pairs(['D.0', 'D.2', 'cls1', 'cls2']))
  assert sum(np.prod(s, dtype=int) for s in d['main'].values()) == 5_057_702


def headless(kind):
  """(experiment, our plain name -> the key, what else the file has)."""
  six = np.ones((1000, 8), 'f4')
  if kind == 'scale':
    more = {'Scale.layer5.conv2d_list.0.weight': np.ones((21, 128, 3, 3), 'f4')}
    return MULTI, lambda k: None if 'layer5' in k else f'Scale.{k}', more
  if kind == 'torchvision_resnet':
    return MULTI, lambda k: k, {'fc.weight': six, 'fc.bias': six[:, 0].copy()}
  conv5 = {23: 24, 25: 26, 27: 28}
  if kind == 'vgg':

    def rename(key):
      number = int(key.split('.')[1])
      return f'features.{conv5.get(number, number)}.{key.rpartition(".")[2]}'

    return VGG16, rename, {'classifier.0.weight': six}
  order = [
    f'conv{s}_{i}'
    for s, n in zip(range(1, 6), (2, 2, 3, 3, 3), strict=True)
    for i in range(1, n + 1)
  ]

  def rename(key):
    at = VGG.index(int(key.split('.')[1]))
    return f'{order[at]}.{key.rpartition(".")[2]}'

  return VGG16, rename, {'fc6.weight': six, 'fc7.bias': six[:, 0].copy()}


@pytest.mark.parametrize(
  'kind', ['scale', 'torchvision_resnet', 'vgg', 'caffe_vgg']
)
def test_backbones_of_pretrained_files(kind, tmp_path):
  """The backbone is taken, the classifier unused, our heads stay fresh."""
  (page, overrides), rename, more = headless(kind)
  config = experiment(page, *overrides)

  def key_of(name):
    mine = name.startswith(('layer5.', 'layer6.', 'features.29', 'features.31'))
    return None if mine else rename(name)

  path = tmp_path / 'x.safetensors'
  tensors = file_of(config, key_of, path, **more)
  convolutions = {k for k in tensors if 'conv5_3' in k or 'features.28' in k}
  assert len(convolutions) == (2 if 'vgg' in kind else 0)
  run, found = load.load_segmenter(config, path)
  assert found.layout.name == kind and not found.complete
  assert found.unused.keys() == more.keys()
  seg, _ = shapes(config)
  assert set(found.fresh) == {name for name in seg if not key_of(name)}
  assert 'layer6' not in run.params
  back = export.to_tensors(run.params, found.layout)
  back |= export.to_tensors(run.batch_stats, found.layout)
  assert back.keys() == tensors.keys() - more.keys()
  for key, tensor in back.items():
    np.testing.assert_array_equal(tensor, tensors[key], key)
  said = found.describe()
  assert (
    f'{kind}: {len(back)} tensors' in said and f'{len(more)} unused' in said
  )


def test_what_does_not_fit_is_listed_on_both_sides(tmp_path):
  config = experiment('advent')
  path = tmp_path / 'x.safetensors'

  def rename(key):
    return 'layer7.odd' if key == 'layer2.1.conv2.weight' else key

  file_of(config, rename, path)
  with pytest.raises(UserError) as refused:
    load.load_segmenter(config, path)
  said = str(refused.value)
  assert 'x.safetensors (deeplab) does not fit' in said
  assert 'only the network has layer2.1.conv2.weight;' in said
  assert 'only the file has layer7.odd.' in said
  # A deeper file is refused, too: none of it is silently left out.
  file_of(
    experiment('advent', 'model.encoder.blocks=(1,2,2,1)'), lambda k: k, path
  )
  with pytest.raises(UserError, match=r'only the file has layer3\.1\.bn1\.'):
    load.load_segmenter(config, path)


def test_shapes_and_exceptions(tmp_path):
  """A head of other classes needs a word in the config."""
  path = tmp_path / 'x.safetensors'
  file_of(
    experiment('advent', 'classes=synthia16'),
    lambda k: k,
    path,
    odd=np.ones(1, 'f4'),
  )
  with pytest.raises(UserError) as refused:
    load.load_segmenter(experiment('advent'), path)
  said = str(refused.value)
  assert 'layer5.conv2d_list.0.weight is (16, 64, 3, 3), not (19, 64' in said
  assert 'only the file has odd' in said and 'config.init_fresh' in said
  config = experiment('advent', r'init_fresh=layer[56]\..*', 'init_unused=odd')
  run, found = load.load_segmenter(config, path)
  assert found.fresh.keys() == {*aspp('layer5'), *aspp('layer6')}
  assert found.unused['odd'] == 'config.init_unused'
  assert found.unused['layer6.conv2d_list.3.bias'] == 'of shape (16,)'
  assert len(found.unused) == 1 + 16
  assert run.params.keys() == {'backbone'}
  bad = experiment('advent', 'init_fresh=layer[')
  with pytest.raises(UserError, match='take regexes'):
    load.load_segmenter(bad, path)


def test_files_without_counters(tmp_path):
  """torch before 0.4.1 had none; they begin at 0."""
  config = experiment('advent')
  path = tmp_path / 'x.safetensors'
  file_of(config, lambda k: None if k.endswith(COUNTER) else k, path)
  run, found = load.load_segmenter(config, path)
  assert found.complete
  assert run.batch_stats['backbone']['bn1'][COUNTER] == 0


def test_unknown_keys(tmp_path):
  path = tmp_path / 'x.safetensors'
  safetensors.numpy.save_file({'encoder.w': np.ones(2, 'f4')}, path)
  with pytest.raises(UserError, match='has the keys of no known model: encod'):
    load.load_segmenter(experiment('advent'), path)


def test_discriminators(tmp_path):
  """ADVENT's and AdaptSegNet's one by one, FADA's out of the whole file."""
  for page, names in (
    (
      'advent',
      {
        'conv1': '0',
        'conv2': '2',
        'conv3': '4',
        'conv4': '6',
        'classifier': '8',
      },
    ),
    ('adaptsegnet', {}),
  ):
    _, d = shapes(experiment(page))
    files, drawn = {}, {}
    for seed, (head, named) in enumerate(d.items()):
      tensors = draw(named, seed)
      files[head] = tmp_path / f'{page}_{head}.safetensors'
      drawn[head] = tensors
      renamed = {}
      for key, tensor in tensors.items():
        module, _, leaf = key.partition('.')
        renamed[f'{names.get(module, module)}.{leaf}'] = tensor
      safetensors.numpy.save_file(renamed, files[head])
    init = ','.join(f'{k}={v}' for k, v in files.items())
    found = load.load_discriminators(
      experiment(page, f'discriminator.init={init}')
    )
    assert found.keys() == {'main', 'aux'}
    for head, tensors in drawn.items():
      kernel = found[head]['conv3']['kernel']
      theirs = tensors['conv3.weight'].transpose(2, 3, 1, 0)
      np.testing.assert_array_equal(kernel, theirs)
  config = experiment('fada')
  _, d = shapes(config)
  tensors = draw(d['main'])
  path = tmp_path / 'fada.safetensors'
  seg = file_of(config, fada, path)
  whole = seg | {f'model_D.{k}': v for k, v in tensors.items()}
  safetensors.numpy.save_file(whole, path)
  run, match = load.load_segmenter(config, path)
  assert len(match.unused) == 8 and run.params['layer6']
  config = experiment('fada', f'discriminator.init={path}')
  found = load.load_discriminators(config)['main']
  theirs = tensors['cls2.bias']
  np.testing.assert_array_equal(found['cls2']['bias'], theirs)


@pytest.mark.parametrize(
  ('page', 'init', 'sentence'),
  [
    ('advent', 'third=x.safetensors', 'is no run and not aux=FILE,main=FILE'),
    ('advent', 'x.safetensors', 'is no run and not aux=FILE,main=FILE'),
    ('minent', 'main=x.safetensors', 'method minent has no discriminators'),
    ('fada', 'runs/gone', 'is no run and not main=FILE'),
  ],
)
def test_discriminators_that_are_not_there(page, init, sentence):
  config = experiment(page, f'discriminator.init={init}')
  with pytest.raises(UserError, match=sentence):
    load.load_discriminators(config)


def test_layouts_without_a_place_for_a_tensor():
  """Nothing is left out of an export."""
  head = {'layer6': {'conv2d_list_0': {'bias': np.ones(3)}}}
  for name in ('scale', 'torchvision_resnet', 'vgg', 'caffe_vgg'):
    with pytest.raises(UserError, match=f'{name} has no place for layer6'):
      export.to_tensors(head, layouts.BY_NAME[name])
