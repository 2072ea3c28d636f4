"""What the README shows is what is there."""

import pytest
import tiny

README = (tiny.ROOT / 'README.md').read_text()


@pytest.mark.parametrize(
  'path', ['jaxuda/methods/advent.py', 'configs/advent.py']
)
def test_the_example_of_a_method_is_its_file(path):
  code = (tiny.ROOT / path).read_text().rstrip()
  assert f'```python\n{code}\n```' in README


@pytest.mark.parametrize('page', tiny.pages())
def test_every_config_page_is_named(page):
  assert f'{page}.py' in README
