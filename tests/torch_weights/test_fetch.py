"""Published weights by the command: fetched, checked, listed and found."""

import hashlib
import resource
import threading

import pytest
from fetching import CONTENT, OTHER, SHA256, call, names, refused

from jaxuda.torch_weights import download, fetch, published
from jaxuda.utils.errors import UserError


def test_a_file_of_which_the_hash_is_published(server, listed, folder, capsys):
  listed(server.url(), sha256=SHA256, bytes=len(CONTENT))
  call('w')
  assert (folder / 'w.pth').read_bytes() == CONTENT
  assert names(folder) == ['w.pth']
  said = capsys.readouterr().out
  assert said == (
    f'w: {server.url()}\n{folder}/w.pth: sha256 {SHA256}, as published\n'
  )
  call('w')  # again: nothing is asked for
  assert len(server.asked) == 1
  assert published.find('w') == folder / 'w.pth'
  (folder / 'w.pth').write_bytes(OTHER)
  for attempt in (lambda: published.find('w'), lambda: call('w')):
    mend = rf'delete {folder}/w\.pth, then run `python -m jaxuda\.weights'
    with pytest.raises(UserError, match=rf'w\.pth is not w: its.*{mend} fetch'):
      attempt()


@pytest.mark.parametrize('digits', [0, 8])
def test_a_file_that_is_trusted_when_it_is_first_fetched(
  digits, server, listed, folder, capsys
):
  listed(server.url(), sha256=SHA256[:digits])
  call('w')
  said = capsys.readouterr().out
  known = f'of which {SHA256[:8]} is' if digits else 'which nobody has'
  assert f'{SHA256}, {known} published: noted, and trusted from now' in said
  assert names(folder) == ['w.pth', 'w.pth.sha256']
  # As `sha256sum -c` reads it.
  assert (folder / 'w.pth.sha256').read_text() == f'{SHA256}  w.pth\n'
  assert published.find('w').read_bytes() == CONTENT
  # Another file at the address, as long as the first one is remembered.
  server.content = OTHER
  (folder / 'w.pth').unlink()
  said = refused()
  reason = f'was {SHA256} when it was first' if not digits else 'is published'
  assert reason in said and names(folder) == ['w.pth.sha256']
  (folder / 'w.pth').write_bytes(OTHER)
  mend = f'delete {folder}/w.pth and {folder}/w.pth.sha256, then run `python '
  for attempt in (lambda: published.find('w'), lambda: call('w')):
    with pytest.raises(UserError, match=f'is not w: .*{mend}.* fetch w`'):
      attempt()
  (folder / 'w.pth').unlink()
  (folder / 'w.pth.sha256').unlink()
  if not digits:  # as it says
    call('w')
    assert published.find('w').read_bytes() == OTHER


def test_the_next_address(server, listed, folder, capsys):
  listed(server.url('/gone.pth'), server.url(), sha256=SHA256)
  server.missing = ('/gone.pth',)
  call('w')
  assert (folder / 'w.pth').read_bytes() == CONTENT
  assert [path for path, _ in server.asked] == ['/gone.pth', '/w.pth']


def test_no_address_answers(server, listed, tmp_path, folder):
  """A port where nobody listens is a closed network."""
  gone = server.url('/gone.pth')
  server.missing = ('/gone.pth',)
  listed(gone, 'http://127.0.0.1:9/w.pth')
  assert refused() == (
    f'w could not be fetched from {gone} (404 Not Found); '
    'http://127.0.0.1:9/w.pth (no connection: Connection refused): download '
    f'w.pth from https://page, put it at {folder}/w.pth and run `python -m '
    'jaxuda.weights fetch w`, which checks it.'
  )
  assert not names(folder)
  elsewhere = tmp_path / 'elsewhere'
  said = refused(f'--folder={elsewhere}')
  assert f'put it at {elsewhere}/w.pth' in said
  assert f'fetch w --folder={elsewhere}`' in said


@pytest.mark.parametrize('published_as', [SHA256, SHA256[:8]])
def test_wrong_bytes(published_as, server, listed, folder):
  listed(server.url(), sha256=published_as)
  server.content = OTHER
  said = refused()
  assert hashlib.sha256(OTHER).hexdigest() in said and published_as in said
  assert not names(folder)


def test_a_web_page_in_place_of_the_file(server, listed, folder):
  listed(server.url())
  server.kind = 'text/html; charset=utf-8'
  assert 'answers with a web page' in refused()
  assert not names(folder)


def test_a_full_disk(server, listed, folder, monkeypatch):
  listed(server.url(), sha256=SHA256)
  room = download.shutil._ntuple_diskusage(9_000, 5_000, 4_000)
  with monkeypatch.context() as patch:
    patch.setattr(download.shutil, 'disk_usage', lambda _: room)
    said = refused()
  assert f'{folder}/w.pth.part: cannot write (5,000 more bytes need' in said
  limit = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, limit[1]))
  try:
    said = refused()
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, limit)
  assert 'cannot write (File too large); make room' in said
  call('w')
  assert (folder / 'w.pth').read_bytes() == CONTENT


def test_a_folder_that_cannot_be(listed, server, tmp_path):
  listed(server.url())
  (tmp_path / 'file').touch()
  said = refused(f'--folder={tmp_path}/file/weights')
  assert said.startswith(f'{tmp_path}/file') and 'give another --folder' in said


def test_two_at_once(server, listed, folder, monkeypatch):
  """The second one waits, and asks for nothing."""
  listed(server.url(), sha256=SHA256)
  inside, waiting, go_on = (threading.Event() for _ in range(3))

  def say(text, **_):
    if text == 'w: waiting for another process that fetches it':
      waiting.set()

  monkeypatch.setattr(fetch, 'print', say, raising=False)

  def pause():
    inside.set()
    assert go_on.wait(60)

  server.pause = pause
  done = []
  calls = [
    threading.Thread(target=lambda: done.append(fetch.fetch('w')))
    for _ in range(2)
  ]
  calls[0].start()
  assert inside.wait(60)
  calls[1].start()
  assert waiting.wait(60)
  go_on.set()
  for each in calls:
    each.join()
  assert done == [folder / 'w.pth'] * 2
  assert len(server.asked) == 1 and names(folder) == ['w.pth']


def test_ctrl_c(server, listed, folder, monkeypatch, capsys):
  listed(server.url(), sha256=SHA256)

  def pressed(*_):
    raise KeyboardInterrupt

  with monkeypatch.context() as patch:
    patch.setattr(download, '_copy', pressed)
    with pytest.raises(KeyboardInterrupt):
      call('w')
  assert 'w.pth.part: the same command goes on' in capsys.readouterr().out
  call('w')
  assert (folder / 'w.pth').read_bytes() == CONTENT


def test_by_hand(listed, folder, capsys):
  listed(called='the .pth in the archive')
  assert refused() == (
    'w has no address that a program can fetch: download the .pth in the '
    f'archive from https://page, put it at {folder}/w.pth and run `python -m '
    'jaxuda.weights fetch w`, which checks it.'
  )
  missing = r'w\.pth is not there yet: run `python -m jaxuda\.weights fetch w`'
  with pytest.raises(UserError, match=missing):
    published.find('w')
  (folder / 'w.pth').write_bytes(CONTENT)
  with pytest.raises(UserError, match=r'has not been checked yet: run `python'):
    published.find('w')
  call('w')
  assert published.find('w') == folder / 'w.pth'
  assert 'noted, and trusted from now on' in capsys.readouterr().out


def test_the_list(listed, folder, capsys):
  listed('https://address', bytes=3 * 2**20)
  call()
  assert 'free' in (said := capsys.readouterr().out)
  assert f'here: {folder}' in said and '3 MiB' in said and 'yes' not in said
  folder.mkdir()
  (folder / 'w.pth').touch()
  call()
  assert 'yes' in capsys.readouterr().out
  listed()
  call('--folder=x')
  assert 'here: x (' in (said := capsys.readouterr().out)
  assert 'by hand' in said
  with pytest.raises(
    UserError, match=r"no published weights 'v'; there are w\."
  ):
    call('v')


def test_names_go_before_paths(listed, folder):
  listed()
  assert published.located('w') == folder / 'w.pth'
  for path in ('./w', 'w/w', 'w.pth', 'runs/w'):
    assert str(published.find(path)) == str(published.pathlib.Path(path))


def test_a_folder_without_a_name_is_listed(listed, folder, tmp_path, capsys):
  listed()
  call('--folder', str(tmp_path / 'x'))
  assert f'here: {tmp_path}/x (' in capsys.readouterr().out
  with pytest.raises(UserError, match="unexpected argument 'b'"):
    call('w', 'b')


def test_a_tilde_is_the_home_folder(listed, monkeypatch, tmp_path):
  listed()
  monkeypatch.setenv('HOME', str(tmp_path))
  assert published.find('~/w.pth') == tmp_path / 'w.pth'
