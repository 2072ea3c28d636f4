"""Pseudo labels that several files of tests read."""

import pytest
import tiny_runs

from jaxuda import pseudo_label


@pytest.fixture(scope='module', autouse=True)
def quick():
  with tiny_runs.quick_compiles():
    yield


@pytest.fixture(scope='session')
def half(finished_run, tmp_path_factory):
  """The folder of `median`, with half of each class; not to be changed."""
  folder = tmp_path_factory.mktemp('labels') / 'half'
  arguments = [f'--workdir={finished_run.workdir}', f'--output={folder}']
  with tiny_runs.quick_compiles():
    assert pseudo_label.main(['pseudo_label', *arguments, '--cap=1']) == 0
  return folder
