"""What each method asks of a discriminator, with toy discriminators."""

import jax
import numpy as np
import pytest
import tiny
from contexts import outputs

from jaxuda import config as config_lib
from jaxuda import methods
from jaxuda.methods import advent_patch
from jaxuda.utils.errors import UserError

RNG = np.random.default_rng(0)
SIZE, PATCH, COUNT = (48, 64), 32, 3
KEYS = jax.random.split(jax.random.key(7), COUNT)


def draw_outputs():
  """Random logits of both heads, for three images."""

  def draw():
    return RNG.standard_normal((COUNT, *SIZE, 5)).astype(np.float32)

  return outputs({'main': draw(), 'aux': draw()})


SOURCE, TARGET = draw_outputs(), draw_outputs()
DOMAINS = {'source': SOURCE, 'target': TARGET}


def information(logits, form):
  """ADVENT's prob_2_entropy, or the paper's -y log y (float64)."""
  e = np.exp(np.float64(logits))
  y = e / e.sum(-1, keepdims=True)
  if form == 'natural':
    return -y * np.log(y)
  return -y * np.log2(y + 1e-30) / np.log2(logits.shape[-1])


def toy(name, view):
  """A linear discriminator for each head: one answer an image."""
  slope = {'main': 3.0, 'aux': -2.0}[name]
  return slope * np.asarray(view).mean((1, 2, 3)) - 0.4


def bce(answers, domain):
  """-log of the probability given to the domain, on average."""
  p = 1 / (1 + np.exp(-np.float64(answers)))
  return -np.log(p if domain else 1 - p).mean()


def run(method, config, terms, discriminate=toy, rng=KEYS):
  ctx = methods.StepContext(
    batch={},
    config=config,
    step=0,
    keys=rng,
    outputs=DOMAINS,
    discriminate=discriminate,
  )
  return getattr(method, f'{terms}_losses')(ctx)


def watch(config, terms, rng=KEYS):
  """Where in the maps the discriminators looked: {(domain, head): corners}."""
  found = {}

  def discriminate(name, view):
    for domain, shown in DOMAINS.items():
      maps = information(shown.logits[name], config.information)
      corners, patches = [], np.asarray(view)
      for i, patch in enumerate(patches):
        whole = maps[i * COUNT // len(patches)]
        near = np.abs(whole - patch[0, 0]).max(-1) < 1e-6
        y, x = np.argwhere(near)[0] if near.any() else (0, 0)
        cut = whole[y : y + patch.shape[0], x : x + patch.shape[1]]
        if cut.shape == patch.shape and np.allclose(cut, patch, atol=1e-6):
          corners.append((int(y), int(x)))
      if len(corners) == len(patches):
        found[domain, name] = corners
    return toy(name, view)

  run(advent_patch.METHOD, config, terms, discriminate, rng)
  return found


def patch_config(*overrides):
  fixed = (f'patch.size={PATCH}', 'patch.count=1', 'patch.redraw=False')
  return tiny.config('advent_patch', *fixed, *overrides)


@pytest.mark.parametrize('name', ['source_only', 'adabn'])
def test_methods_without_terms(name):
  method, config = methods.load(name), tiny.config(name)
  assert method.discriminators(config) == {}
  assert run(method, config, 'segmenter') == {}
  assert run(method, config, 'discriminator') == {}


def test_streams():
  assert methods.load('source_only').streams == ('source',)
  for name in ('adabn', 'advent', 'advent_patch'):
    assert methods.load(name).streams == ('source', 'target')


@pytest.mark.parametrize('form', ['natural', 'normalised'])
@pytest.mark.parametrize('config_name', ['advent', 'advent_patch'])
def test_terms_on_whole_maps(config_name, form):
  """train_UDA.py: label 0 for the segmenter; source 0, target 1, each half."""
  overrides = ['patch.size=None'] if config_name == 'advent_patch' else []
  config = tiny.config(config_name, f'information={form}', *overrides)
  method = methods.load(config.method)
  see = {
    (domain, head): toy(head, information(shown.logits[head], form))
    for domain, shown in DOMAINS.items()
    for head in ('main', 'aux')
  }
  hiding = run(method, config, 'segmenter')
  tell = run(method, config, 'discriminator')
  assert set(hiding) == {'adv_main', 'adv_aux'}
  assert {name for name in tell if '/' not in name} == {'d_main', 'd_aux'}
  for head in ('main', 'aux'):
    source, target = see['source', head], see['target', head]
    assert hiding[f'adv_{head}'] == pytest.approx(bce(target, 0), rel=1e-5)
    expected = (bce(source, 0) + bce(target, 1)) / 2
    assert tell[f'd_{head}'] == pytest.approx(expected, rel=1e-5)
    # What is logged beside it: each half, and how often the logit's sign says
    # the domain.
    assert {
      name.partition('/')[2]: pytest.approx(float(value), rel=1e-5)
      for name, value in tell.items()
      if name.startswith(f'd_{head}/')
    } == {
      'source_loss': bce(source, 0),
      'source_accuracy': np.mean(source < 0),
      'target_loss': bce(target, 1),
      'target_accuracy': np.mean(target > 0),
    }


def test_reversal_is_equation_4():
  """The segmenter maximises the whole loss of the discriminator."""
  config = patch_config('objective=minimax', 'information=natural')
  corners = watch(config, 'segmenter')
  terms = run(advent_patch.METHOD, config, 'segmenter')
  for head in ('main', 'aux'):
    answers = {}
    for domain, shown in DOMAINS.items():
      maps = information(shown.logits[head], 'natural')
      patches = [
        one[y : y + PATCH, x : x + PATCH]
        for one, (y, x) in zip(maps, corners[domain, head], strict=True)
      ]
      answers[domain] = toy(head, np.stack(patches))
    expected = -(bce(answers['source'], 0) + bce(answers['target'], 1))
    assert terms[f'adv_{head}'] == pytest.approx(expected, rel=1e-5)


def test_gradient_of_the_two_objectives():
  """Fooling lowers D's answer to the target; reversal moves both domains."""
  moves = {}
  for objective in ('non_saturating', 'minimax'):
    config = patch_config(f'objective={objective}', 'patch.size=None')

    def loss(source, target, config=config):
      def discriminate(name, view):
        return 3.0 * view.mean((1, 2, 3)) - 0.4

      shown = {
        'source': outputs({'main': source}),
        'target': outputs({'main': target}),
      }
      terms = advent_patch.segmenter_losses(
        methods.StepContext(
          batch={},
          config=config,
          step=0,
          keys=KEYS,
          outputs=shown,
          discriminate=discriminate,
        )
      )
      return terms['adv_main']

    given = (SOURCE.logits['main'], TARGET.logits['main'])
    moves[objective] = jax.grad(loss, (0, 1))(*given)
  on_source, on_target = moves['non_saturating']
  assert not on_source.any() and on_target.any()
  on_source, reversal = moves['minimax']
  assert on_source.any()
  # The same direction, by sigma(z) and by 1 - sigma(z) of each answer.
  for one, other in zip(on_target, reversal, strict=True):
    cosine = (one * other).sum() / np.sqrt((one**2).sum() * (other**2).sum())
    assert cosine == pytest.approx(1, abs=1e-4)


def test_patches_are_drawn_by_image_and_by_domain():
  corners = watch(patch_config(), 'discriminator')
  assert set(corners) == {
    (domain, head) for domain in DOMAINS for head in ('main', 'aux')
  }
  for domain in DOMAINS:
    # The heads of one image share its patch.
    assert corners[domain, 'main'] == corners[domain, 'aux']
    assert len(set(corners[domain, 'main'])) == COUNT
  assert corners['source', 'main'] != corners['target', 'main']
  keys = jax.random.split(jax.random.key(8), COUNT)
  other = watch(patch_config(), 'discriminator', keys)
  assert other['source', 'main'] != corners['source', 'main']


def test_several_patches_an_image():
  """Each from its own image, and the loss is the mean over all of them."""
  config = patch_config('patch.count=4', 'information=natural')
  corners = watch(config, 'segmenter')['target', 'main']
  assert len(set(corners)) == 4 * COUNT
  maps = information(TARGET.logits['main'], 'natural')
  patches = [
    maps[i // 4, y : y + PATCH, x : x + PATCH]
    for i, (y, x) in enumerate(corners)
  ]
  expected = bce(toy('main', np.stack(patches)), 0)
  terms = run(advent_patch.METHOD, config, 'segmenter')
  assert terms['adv_main'] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize('redraw', [False, True])
def test_redraw(redraw):
  """Whether the discriminator trains on patches of its own."""
  config = patch_config(f'patch.redraw={redraw}')
  judged = watch(config, 'segmenter')['target', 'main']
  trained = watch(config, 'discriminator')['target', 'main']
  assert (judged != trained) == redraw


def test_the_whole_map_is_the_global_baseline():
  corners = watch(patch_config('patch.size=None'), 'discriminator')
  assert set(map(tuple, corners.values())) == {((0, 0),) * COUNT}


@pytest.mark.parametrize('config_name', ['advent', 'advent_patch'])
def test_one_discriminator_per_head(config_name):
  config = tiny.config(config_name)
  method = methods.load(config.method)
  assert set(method.discriminators(config)) == {'main', 'aux'}
  config = tiny.config(config_name, 'model.decoder.multi_level=False')
  assert set(method.discriminators(config)) == {'main'}


@pytest.mark.parametrize(
  ('override', 'sentence'),
  [
    ('patch.size=97', r'patch\.size=97 .* 96.*source maps are \(96, 192\)'),
    ('patch.count=0', r'patch\.count=0 must be at least 1'),
    ('patch.size=31', r'patch\.size=31 must be at least 32'),
    ('source.crop=(64,64)', r'patch\.size=80 .* source maps are \(64, 64\)'),
  ],
)
def test_refused_settings(override, sentence):
  size = 'patch.size=80'
  given = [size, override] if 'crop' in override else [override]
  with pytest.raises(UserError, match=sentence):
    config = tiny.config('advent_patch', *given)
    config_lib.check_values(config)
    advent_patch.check(config)
  advent_patch.check(tiny.config('advent_patch', 'patch.size=None'))


def test_unknown_method():
  with pytest.raises(UserError, match="no method 'fada2'; did you mean 'fada'"):
    methods.load('fada2')


def test_a_methods_own_settings_are_in_its_config_and_checked():
  """A new method is one file and one config: nothing else knows its keys."""
  for name in tiny.all_methods():
    config = tiny.config(name)
    flat = config_lib.flatten(config)
    for key, setting in methods.load(config.method).settings.items():
      assert key in flat, (name, key)
      if setting.choices:
        broken = config.copy_and_resolve_references()
        with broken.ignore_type():
          broken.update_from_flattened_dict({key: 'nonsense'})
        with pytest.raises(UserError, match=f'{key}=.nonsense. is none of'):
          config_lib.check_values(broken)
