"""Pseudo labels that several files of tests read."""

import pytest

from jaxuda import pseudo_label


@pytest.fixture(scope='session')
def half(finished_run, tmp_path_factory):
  """The folder of `median`, with half of each class; not to be changed."""
  folder = tmp_path_factory.mktemp('labels') / 'half'
  arguments = [f'--workdir={finished_run.workdir}', f'--output={folder}']
  assert pseudo_label.main(['pseudo_label', *arguments, '--cap=1']) == 0
  return folder
